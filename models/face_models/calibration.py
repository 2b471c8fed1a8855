"""Cosine similarity -> false match rate, confidence, and false matches to expect in a gallery.

Terms are ISO/IEC 19795-1's: FMR(s) is the share of impostor comparisons with similarity >= s,
FNMR(s) the share of genuine comparisons with similarity < s. One table per model is measured on
people whom training has not seen:

FMR
    Counted while at least 100 impostors exceed s. Beyond, the scores over the 100th highest, u, are
    taken to be exponential (a generalised Pareto tail of shape 0; Pickands 1975, Annals of
    Statistics 3-1): FMR(s) = FMR(u) exp(-(s - u) / mean excess). A cosine cannot exceed 1, so its
    true tail is shorter, and the estimate errs towards more false matches. No claim is made below
    a hundredth of one match in all impostor comparisons measured.

Confidence
    P(same person | s) at even odds: isotonic regression of genuine against impostor pairs, both
    classes weighing the same, with one pair of either class added to every step (Laplace's rule of
    succession), so that it never says 0 or 1. A search is no even bet: there the odds are divided
    by the number of faces that the probe is compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from face_models.errors import WeightsError
from face_models.spec import WEIGHTS_DIR, Json, exact_keys, load_specs, read_json, write_json

CALIBRATION_FILE: Final = "calibration.json"
SCHEMA: Final = 1

GRID_STEP: Final = 0.005
TAIL_IMPOSTORS: Final = 100  # their mean excess is known to 10 %
FLOOR_DECADES: Final = 2
MIN_IMPOSTORS: Final = 10 * TAIL_IMPOSTORS
MIN_GENUINE: Final = 100
DIGITS: Final = 6

Scores = NDArray[np.floating[Any]]
Curve = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTable:
    """Curves over ascending similarities, and where they come from.

    `model_sha256`: the graph that was measured.
    `data`: whose pairs they were; `seed`: which draw of them.
    `measured_log10_fmr`: FMR below it is extrapolated.
    """

    model_sha256: str
    data: str
    genuine_pairs: int
    impostor_pairs: int
    seed: int
    measured_log10_fmr: float
    similarity: Curve
    log10_fmr: Curve
    fnmr: Curve
    confidence: Curve

    def __post_init__(self) -> None:
        _check_curve("similarity", self.similarity, len(self.similarity), direction=1)
        _check_curve("log10_fmr", self.log10_fmr, len(self.similarity), direction=-1)
        _check_curve("fnmr", self.fnmr, len(self.similarity), direction=1)
        _check_curve("confidence", self.confidence, len(self.similarity), direction=1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The tables of a weights folder by model name ("base", "heatmap")."""

    tables: Mapping[str, CalibrationTable]

    @property
    def sha256(self) -> str:
        """Of what the tables say, however the file is laid out."""
        said = {name: asdict(table) for name, table in self.tables.items()}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def fmr(self, model: str, similarity: float) -> float:
        """Share of comparisons of different people that reach this similarity, in (0, 1]."""
        table = self._table(model)
        return float(10 ** np.interp(similarity, table.similarity, table.log10_fmr))

    def fnmr(self, model: str, similarity: float) -> float:
        """Share of comparisons of one person with herself that miss this similarity, in 0..1."""
        table = self._table(model)
        return float(np.interp(similarity, table.similarity, table.fnmr))

    def confidence(self, model: str, similarity: float, comparisons: int = 1) -> float:
        """P(same person | similarity), in (0, 1), the prior odds being 1 to `comparisons`.

        In a search that is one face against all others of the gallery: what convinces among forty
        faces is a weak hint among a million.
        """
        table = self._table(model)
        at_even_odds = float(np.interp(similarity, table.similarity, table.confidence))
        odds = at_even_odds / (1 - at_even_odds) / max(comparisons, 1)
        return odds / (1 + odds)

    def expected_false_matches(self, model: str, similarity: float, comparisons: int) -> float:
        """Mean number of wrong faces at or above this similarity among `comparisons` faces.

        A search compares the probe with every face of the gallery, so `comparisons` is the
        gallery's number of faces, not of persons.
        """
        return self.fmr(model, similarity) * comparisons

    def threshold(self, model: str, fmr: float) -> float:
        """The lowest similarity whose FMR is at most `fmr`.

        Raises:
            ValueError: not in (0, 1], or lower than what the table can claim.
        """
        table = self._table(model)
        if not 0 < fmr <= 1 or np.log10(fmr) < table.log10_fmr[-1]:
            lowest = 10 ** table.log10_fmr[-1]
            raise ValueError(f"FMR {fmr:g} is not in {lowest:.1e}..1, which {model!r} can state.")
        curve = np.array(table.log10_fmr)
        after = int(np.argmax(curve <= np.log10(fmr)))
        ends = slice(max(after - 1, 0), after + 1)
        return float(np.interp(-np.log10(fmr), -curve[ends], table.similarity[ends]))

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
        tables = {name: _table_from(name, entry) for name, entry in raw["models"].items()}
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


def fit(
    genuine: Scores, impostor: Scores, *, model_sha256: str, data: str, seed: int
) -> CalibrationTable:
    """Measure one model on the similarities of pairs of one person and of pairs of two people.

    Raises:
        ValueError: fewer than 100 genuine or 1,000 impostor pairs.
    """
    if len(genuine) < MIN_GENUINE or len(impostor) < MIN_IMPOSTORS:
        raise ValueError(
            f"{len(genuine)} genuine and {len(impostor)} impostor pairs are too few; "
            f"at least {MIN_GENUINE} and {MIN_IMPOSTORS} are needed."
        )
    grid = np.linspace(-1, 1, round(2 / GRID_STEP) + 1)
    return CalibrationTable(
        model_sha256=model_sha256,
        data=data,
        genuine_pairs=len(genuine),
        impostor_pairs=len(impostor),
        seed=seed,
        measured_log10_fmr=round(float(np.log10(TAIL_IMPOSTORS / len(impostor))), DIGITS),
        similarity=_rounded(grid),
        log10_fmr=_rounded(_log10_fmr(np.sort(impostor), grid)),
        fnmr=_rounded(np.searchsorted(np.sort(genuine), grid, side="left") / len(genuine)),
        confidence=_rounded(_confidence(genuine, impostor, grid)),
    )


def _log10_fmr(ascending: Scores, grid: Scores) -> Scores:
    """Counted up to the 100th highest impostor, exponential beyond, never below the floor."""
    count = len(ascending)
    reached = count - np.searchsorted(ascending, grid, side="left")
    counted = np.log10(np.maximum(reached, TAIL_IMPOSTORS) / count)
    tail = ascending[-TAIL_IMPOSTORS:].astype(np.float64)
    mean_excess = max(float(tail.mean() - tail[0]), GRID_STEP)
    decades_lost = np.maximum(grid - tail[0], 0) / mean_excess / np.log(10)
    floor = -np.log10(count) - FLOOR_DECADES
    return np.asarray(np.maximum(counted - decades_lost, floor))


def _confidence(genuine: Scores, impostor: Scores, grid: Scores) -> Scores:
    steps = _pooled(_per_point(genuine, grid), _per_point(impostor, grid))
    same = (steps[:, 0] + 1) / len(genuine)
    different = (steps[:, 1] + 1) / len(impostor)
    share = np.maximum.accumulate(same / (same + different))
    return np.repeat(share, steps[:, 2])


def _per_point(scores: Scores, grid: Scores) -> NDArray[np.int64]:
    """How many scores are nearest to each point of the grid."""
    nearest = np.rint((np.clip(scores, -1, 1) - grid[0]) / GRID_STEP).astype(np.int64)
    return np.bincount(nearest, minlength=len(grid))


def _pooled(genuine: NDArray[np.int64], impostor: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pool adjacent violators (Ayer et al. 1955): rows of genuine, impostors, points of the grid.

    Neighbours are pooled until the odds genuine : impostor grow from row to row.
    """
    rows: list[tuple[int, int, int]] = []
    for same, different in zip(genuine.tolist(), impostor.tolist(), strict=True):
        row = (same, different, 1)
        while rows and rows[-1][0] * row[1] >= row[0] * rows[-1][1]:
            last = rows.pop()
            row = (last[0] + row[0], last[1] + row[1], last[2] + row[2])
        rows.append(row)
    return np.array(rows, dtype=np.int64)


def _rounded(curve: Scores) -> Curve:
    return tuple(np.round(curve, DIGITS).tolist())


def _table_from(name: str, raw: Json) -> CalibrationTable:
    types = {"str": str, "int": int, "float": float, "Curve": list}
    where = f"{CALIBRATION_FILE}, models.{name}"
    known = {field.name: types[str(field.type)] for field in fields(CalibrationTable)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in exact_keys(raw, known, where=where).items()
    }
    try:
        return CalibrationTable(**values)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{where}: {error}") from error


def _check_curve(name: str, curve: Curve, length: int, *, direction: int) -> None:
    values = np.asarray(curve, dtype=np.float64)
    if length < 2 or values.shape != (length,) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be {max(length, 2)} finite numbers.")
    if (direction * np.diff(values) < 0).any():
        raise ValueError(f"{name} must not {'fall' if direction > 0 else 'rise'}.")
