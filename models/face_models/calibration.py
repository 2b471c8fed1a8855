"""Cosine similarity -> false match rate, confidence, and false matches to expect in a gallery.

Terms are ISO/IEC 19795-1's: FMR(s) is the share of impostor comparisons with similarity >= s,
FNMR(s) the share of genuine ones with similarity < s, FPIR the share of searches for somebody who
is not in the gallery that find somebody all the same. One table per template is measured on people
whom training has not seen (training/calibrating/fit.py); here it is only read:

Isolation
    Some people resemble many: to a network most small children look alike. The same similarity
    means less for them, so it is first put on the probe's own scale. A cosine distance is divided
    by the probe's isolation, its distance to the nearest strangers in units of the median
    person's, which a log-linear rule tells from the probe's embedding alone (cohort
    normalisation, as in Auckenthaler et al. 2000, Digital Signal Processing 10, with the cohort
    distilled into the rule: no stranger's embedding is shipped). 1 is the median person, below 1
    is somebody whom many resemble. All curves are over similarities on that scale.
FMR
    A curve where impostors were counted; beyond `tail.threshold` a generalised Pareto tail
    (Pickands 1975, Annals of Statistics 3-1). `log10_fmr_low` and `_high` bound it at 95 %.
FPIR
    Who resembles one stranger resembles several: false matches come in clumps, so fewer searches
    find one than if they fell anywhere. Their number per search is taken to be negative binomial
    with mean FMR x gallery and the table's `dispersion` at that FMR (its size parameter; infinite
    would be Poisson): FPIR = 1 - (1 + mean / dispersion)^-dispersion.
Confidence
    P(same person | s) at even odds. A search is no even bet: there the odds are divided by the
    number of faces that the probe is compared with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

import numpy as np

from face_models.calibration_table import (
    DISPERSION_LOG10_FMR,
    CalibrationTable,
    Curve,
    Scores,
    on_probes_scale,
    table_from,
)
from face_models.errors import WeightsError
from face_models.spec import WEIGHTS_DIR, exact_keys, load_specs, read_json, write_json

CALIBRATION_FILE: Final = "calibration.json"
SCHEMA: Final = 2
MEDIAN_PERSON: Final = 1.0
SUREST: Final = 1 - 1e-6  # curves are rounded; nobody is certain
MOST_FMR: Final = 1 - 1e-12  # beside 1 no logarithm is left


@dataclass(frozen=True, slots=True)
class Calibration:
    """The tables of a weights folder by template name ("base", "heatmap-flip", ...).

    `isolation` is the probe's, 1 the median person's: `isolation(model, embedding)` tells it.
    """

    tables: Mapping[str, CalibrationTable]

    @property
    def sha256(self) -> str:
        """Of what the tables say, however the file is laid out."""
        said = {name: asdict(table) for name, table in self.tables.items()}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def isolation(self, model: str, probe: Scores) -> float:
        """How far the probe's nearest strangers are; 1: as far as the median person's."""
        return float(self._table(model).isolation.of(probe))

    def fmr(self, model: str, similarity: float, isolation: float = MEDIAN_PERSON) -> float:
        """Share of comparisons of such a probe with others that reach this similarity, (0, 1]."""
        told = self._table(model).log10_at(on_probes_scale(similarity, isolation))
        return float(10**told)

    def fmr_interval(
        self, model: str, similarity: float, isolation: float = MEDIAN_PERSON
    ) -> tuple[float, float]:
        """95 % interval of the FMR: what other people of the same kind could have given."""
        table, at = self._table(model), on_probes_scale(similarity, isolation)
        curves = (table.log10_fmr_low, table.log10_fmr_high)
        low, high = (float(10 ** np.interp(at, table.similarity, curve)) for curve in curves)
        return low, high

    def fnmr(self, model: str, similarity: float, isolation: float = MEDIAN_PERSON) -> float:
        """Share of comparisons of one person with herself that miss this similarity, in 0..1."""
        table, at = self._table(model), on_probes_scale(similarity, isolation)
        return float(np.interp(at, table.similarity, table.fnmr))

    def confidence(
        self,
        model: str,
        similarity: float,
        comparisons: int = 1,
        isolation: float = MEDIAN_PERSON,
    ) -> float:
        """P(same person | similarity), in (0, 1), the prior odds being 1 to `comparisons`.

        In a search that is one face against all others of the gallery: what convinces among forty
        faces is a weak hint among a million.
        """
        table, at = self._table(model), on_probes_scale(similarity, isolation)
        at_even_odds = min(float(np.interp(at, table.similarity, table.confidence)), SUREST)
        odds = at_even_odds / (1 - at_even_odds) / max(comparisons, 1)
        return odds / (1 + odds)

    def expected_false_matches(
        self,
        model: str,
        similarity: float,
        comparisons: int,
        isolation: float = MEDIAN_PERSON,
    ) -> float:
        """Mean number of wrong faces at or above this similarity among `comparisons` faces.

        A search compares the probe with every face of the gallery, so `comparisons` is the
        gallery's number of faces, not of persons.
        """
        return self.fmr(model, similarity, isolation) * comparisons

    def fpir(
        self,
        model: str,
        similarity: float,
        comparisons: int,
        isolation: float = MEDIAN_PERSON,
    ) -> float:
        """P(a search for somebody who is not in the gallery reaches this similarity), in 0..1."""
        at = float(on_probes_scale(similarity, isolation))
        return float(_fpir_at(self._table(model), at, comparisons))

    def threshold(self, model: str, fmr: float, isolation: float = MEDIAN_PERSON) -> float:
        """The lowest similarity, for this probe, whose FMR is at most `fmr`.

        Raises:
            ValueError: not in (0, 1], or lower than what the table can claim.
        """
        table = self._table(model)
        lowest = float(table.log10_at(1.0))
        if not 0 < fmr <= 1 or math.log10(fmr) < lowest:
            raise ValueError(f"FMR {fmr:g} is not in {10**lowest:.1e}..1, which {model!r} states.")
        at = _first_where(lambda middle: float(table.log10_at(middle)) <= math.log10(fmr), table)
        return 1 - (1 - at) * isolation

    def threshold_for_fpir(
        self, model: str, fpir: float, comparisons: int, isolation: float = MEDIAN_PERSON
    ) -> float:
        """The lowest similarity, for this probe, whose FPIR among so many faces is at most `fpir`.

        Raises:
            ValueError: not in (0, 1), or lower than what the table can claim at this gallery size.
        """
        table = self._table(model)
        lowest = float(_fpir_at(table, 1.0, comparisons))
        if not lowest <= fpir < 1:
            raise ValueError(
                f"FPIR {fpir:g} is not in {lowest:.1e}..1, which {model!r} states of "
                f"{comparisons} faces."
            )
        at = _first_where(lambda middle: float(_fpir_at(table, middle, comparisons)) <= fpir, table)
        return 1 - (1 - at) * isolation

    @classmethod
    def load(cls, weights_dir: Path = WEIGHTS_DIR) -> Self:
        """Read calibration.json of a weights folder.

        Raises:
            WeightsError: missing, malformed, or measured on other graphs than those in model.json.
        """
        raw = exact_keys(
            read_json(weights_dir / CALIBRATION_FILE),
            {"schema": int, "models": dict},
            where=CALIBRATION_FILE,
        )
        if raw["schema"] != SCHEMA:
            raise WeightsError(f"{CALIBRATION_FILE} has schema {raw['schema']}, not {SCHEMA}.")
        tables = {
            name: table_from(entry, where=f"{CALIBRATION_FILE}, models.{name}")
            for name, entry in raw["models"].items()
        }
        for name, spec in load_specs(weights_dir).models.items():
            if name not in tables or tables[name].model_sha256 != spec.sha256:
                raise WeightsError(f"{CALIBRATION_FILE} was not measured on this {spec.file}.")
        return cls(MappingProxyType(tables))

    def save(self, weights_dir: Path) -> None:
        models = {name: asdict(table) for name, table in self.tables.items()}
        write_json(weights_dir / CALIBRATION_FILE, {"schema": SCHEMA, "models": models})

    def _table(self, model: str) -> CalibrationTable:
        if model not in self.tables:
            raise WeightsError(f"There is no calibration of model {model!r}.")
        return self.tables[model]


UNCALIBRATED: Final = Calibration(MappingProxyType({}))
"""Before anything was measured: every question is a WeightsError."""


def fpir_of(log10_fmr: Scores | float, comparisons: int, dispersion: Curve | Scores) -> Scores:
    """P(one false match or more) among so many comparisons, between 0 and 1.

    Where the number is small, so is the mean; its logarithm makes it exact at FMR 1.
    """
    size = np.exp(np.interp(log10_fmr, DISPERSION_LOG10_FMR, np.log(dispersion)))
    fmr = np.minimum(np.power(10.0, log10_fmr), MOST_FMR)
    mean = -comparisons * np.log1p(-fmr)
    return np.asarray(-np.expm1(-size * np.log1p(mean / size)))


def _fpir_at(table: CalibrationTable, similarity: float, comparisons: int) -> Scores:
    return fpir_of(table.log10_at(similarity), comparisons, table.dispersion)


def _first_where(passes: Callable[[float], bool], table: CalibrationTable) -> float:
    """The similarity where a falling curve begins to pass, by halving: of counts and tail alike."""
    low, high = table.similarity[0], 1.0
    if passes(low):
        return low
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
