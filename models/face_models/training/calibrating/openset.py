"""Stated against measured FPIR: searches for people who are not in the gallery.

A threshold is set for a wanted FPIR from the calibration alone; then people whom the fit has not
seen are searched for. The share that finds somebody all the same should lie in the interval that
was stated before: over the families that the fit could have been made on (bootstrap), and over
the searches that could have been made (binomial).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from face_models.calibration import Calibration, fpir_of
from face_models.calibration_table import CalibrationTable, Scores, on_probes_scale
from face_models.training.calibrating.comparisons import Vectors
from face_models.training.calibrating.fit import INTERVAL, Fit

TARGETS: Final = (0.01, 0.05, 0.1)
SEARCHES_PER_REPLICATE: Final = 50
EXACT: Final = 1e-9


@dataclass(frozen=True)
class Searches:
    """Probes of people without a photo in the gallery, one photo of everybody.

    `name`: who is searched for; `composition`: who is enrolled.
    """

    name: str
    composition: str
    gallery: Vectors  # (N, d)
    probes: Vectors  # (n, d)


@dataclass(frozen=True)
class Proof:
    """One threshold put to the test. `low` and `high`: 95 % of measurements should lie there."""

    searches: str
    composition: str
    gallery_size: int
    probes: int
    stated: float
    low: float
    high: float
    false_positives: int
    measured: float
    within: bool


def prove(
    searches: Searches,
    fitted: Fit,
    seed: int,
    targets: Sequence[float] = TARGETS,
) -> list[Proof]:
    """One proof for each FPIR that is wanted."""
    best = best_similarity(searches, fitted.table)
    random = np.random.default_rng(seed)
    return [_proof(searches, best, fitted, target, random) for target in targets]


def best_similarity(searches: Searches, table: CalibrationTable) -> Scores:
    """(n,) of every probe and its nearest face of the gallery, on the probe's own scale."""
    nearest = np.array([(probe @ searches.gallery.T).max() for probe in searches.probes])
    return on_probes_scale(nearest, table.isolation.of(searches.probes))


def _proof(
    searches: Searches,
    best: Scores,
    fitted: Fit,
    target: float,
    random: np.random.Generator,
) -> Proof:
    size, probes = len(searches.gallery), len(searches.probes)
    threshold = threshold_at(fitted.table, target, size)
    fpir = np.repeat(fpir_drawn(fitted, threshold, size), SEARCHES_PER_REPLICATE)
    low, high = np.percentile(random.binomial(probes, fpir) / probes, INTERVAL)
    found = int((best >= threshold).sum())
    return Proof(
        searches=searches.name,
        composition=searches.composition,
        gallery_size=size,
        probes=probes,
        stated=target,
        low=float(low),
        high=float(high),
        false_positives=found,
        measured=found / probes,
        within=bool(low - EXACT <= found / probes <= high + EXACT),
    )


def fpir_drawn(fitted: Fit, threshold: float, gallery_size: int) -> Scores:
    """What every replicate of the fit would state at a threshold on the probe's scale."""
    grid = fitted.table.similarity
    return np.array(
        [
            fpir_of(float(np.interp(threshold, grid, one.log10_fmr)), gallery_size, one.dispersion)
            for one in fitted.replicates
        ]
    )


def threshold_at(table: CalibrationTable, fpir: float, gallery_size: int) -> float:
    """The lowest for a wanted FPIR, for the median person: on everybody's own scale."""
    calibration = Calibration({"table": table})
    return calibration.threshold_for_fpir("table", fpir, gallery_size)
