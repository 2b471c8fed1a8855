"""Fits the calibration of one template: FMR with its tail and interval, FNMR, confidence.

Tail
    Generalised Pareto over the similarity that one impostor comparison in a thousand reaches, by
    maximum likelihood with censoring: of the highest hundredth of the tail only the number counts,
    so that people who are in the data under two names do not decide it. A cosine ends at 1, so the
    tail must not end before (shape >= -scale / (1 - threshold)) and is no heavier than exponential.
    For a fixed ratio shape / scale the shape has a closed form (Grimshaw 1993, Technometrics 35-2).
Interval
    Percentile bootstrap over families: comparisons share faces, faces share parents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.calibration_table import (
    DISPERSION_LOG10_FMR,
    FLOOR_DECADES,
    CalibrationTable,
    Curve,
    Isolation,
    Scores,
    Tail,
)
from face_models.training.calibrating.clumps import FalseMatches, false_matches
from face_models.training.calibrating.comparisons import (
    DIGITS,
    GRID,
    STEP,
    TAIL_FMR,
    Comparisons,
    Faces,
    Mass,
    blocks,
    compare,
    rounded,
)

TAIL_PAIRS: Final = 60  # of few people the tail starts earlier, where so many comparisons are left
CENSORED_SHARE: Final = 1e-2  # of the tail
RATIOS: Final = 400  # of shape and scale that are tried
REPLICATES: Final = 400
REPLICATES_AT_ONCE: Final = 40
INTERVAL: Final = (2.5, 97.5)
CONFIDENCE_DIGITS: Final = 9  # odds of a million to one are told from certainty
MIN_FAMILIES: Final = 10


@dataclass(frozen=True)
class Replicate:
    """What the table would have said, had other families of the same kind been measured."""

    log10_fmr: Scores
    dispersion: Curve


@dataclass(frozen=True)
class Fit:
    table: CalibrationTable
    comparisons: Comparisons
    replicates: Sequence[Replicate]


def fit(faces: Faces, isolation: Isolation, *, model_sha256: str, data: str, seed: int) -> Fit:
    """One template's table, and the draws that its intervals are from.

    Raises:
        ValueError: fewer than ten families, or nobody with two photos.
    """
    comparisons = compare(faces, isolation)
    if faces.families < MIN_FAMILIES or comparisons.genuine_pairs == 0:
        raise ValueError(
            f"{faces.families} families with {comparisons.genuine_pairs} genuine pairs are too "
            f"few; at least {MIN_FAMILIES} families, and people with two photos, are needed."
        )
    mass = comparisons.strangers.sum(axis=(0, 1))
    tail = fit_tail(mass)
    log10_fmr = _curve(mass, tail, comparisons.pairs_of_people)
    thresholds = [float(GRID[np.argmax(log10_fmr <= rate)]) for rate in DISPERSION_LOG10_FMR]
    found = false_matches(faces, isolation, thresholds, seed)
    drawn = list(replicates(comparisons, found, seed))
    low, high = np.percentile([one.log10_fmr for one in drawn], INTERVAL, axis=0)
    table = CalibrationTable(
        model_sha256=model_sha256,
        data=data,
        people=comparisons.people,
        pairs_of_people=comparisons.pairs_of_people,
        genuine_pairs=comparisons.genuine_pairs,
        impostor_pairs=comparisons.impostor_pairs,
        seed=seed,
        isolation=isolation,
        tail=tail,
        dispersion=found.dispersion(np.ones(faces.families, dtype=np.int64)),
        similarity=rounded(GRID),
        log10_fmr=rounded(log10_fmr),
        log10_fmr_low=rounded(low),
        log10_fmr_high=rounded(high),
        fnmr=rounded(_below(comparisons.genuine)),
        confidence=rounded(_confidence(comparisons, log10_fmr), CONFIDENCE_DIGITS),
    )
    return Fit(table, comparisons, drawn)


def replicates(
    comparisons: Comparisons, found: FalseMatches, seed: int, count: int = REPLICATES
) -> Iterator[Replicate]:
    """A pair of families counts as often as both were drawn; copies of one are not compared."""
    random = np.random.default_rng(seed)
    families, _, bins = comparisons.strangers.shape
    drawn = random.integers(families, size=(count, families))
    times = np.array([np.bincount(draw, minlength=families) for draw in drawn])
    flat = comparisons.strangers.reshape(families, -1)
    for block in blocks(count, REPLICATES_AT_ONCE):
        once = (times[block].astype(np.float64) @ flat).reshape(-1, families, bins)
        masses = np.einsum("rf,rfb->rb", times[block], once)
        for row, mass in zip(times[block], masses, strict=True):
            curve = _curve(mass, fit_tail(mass), comparisons.pairs_of_people)
            yield Replicate(curve, found.dispersion(row))


def fit_tail(mass: Mass) -> Tail:
    """From the weight of impostors per step of the grid."""
    reached = np.cumsum(mass[::-1])[::-1] / mass.sum()
    start = _first_at_most(reached, max(TAIL_FMR, TAIL_PAIRS / mass.sum()))
    end = _first_at_most(reached, reached[start] * CENSORED_SHARE)
    if not mass[start:end].any():
        end = len(GRID) - 1
    threshold, censored = GRID[start], reached[end]
    seen = mass[start:end] / mass.sum()
    excess = GRID[start:end] + STEP / 2 - threshold
    scale, shape = _most_likely(excess, seen, GRID[end] - threshold, censored, 1 - threshold)
    return Tail(
        threshold=round(float(threshold), DIGITS),
        log10_fmr=round(float(np.log10(reached[start])), DIGITS),
        scale=round(scale, DIGITS),
        shape=round(shape, DIGITS),
    )


def _first_at_most(reached: Mass, share: float) -> int:
    """The last step but one where no other is so rare."""
    rare = np.flatnonzero(reached[:-1] <= share)
    return int(rare[0]) if len(rare) and reached[rare[0]] > 0 else int(np.flatnonzero(reached)[-1])


def _most_likely(
    excess: Scores, weight: Mass, censored_at: float, censored: float, longest: float
) -> tuple[float, float]:
    """Scale and shape of the generalised Pareto distribution whose end is at `longest` or beyond.

    With ratio r = -shape / scale: survival (1 - r x)^k, k = -1 / shape.
    """
    ratio = np.linspace(0, 1 / longest, RATIOS + 1)[1:, None]
    seen = weight.sum()
    log_left = np.log1p(-ratio * np.minimum(excess, longest * (1 - 1e-6)))
    log_end = np.log1p(-ratio[:, 0] * min(censored_at, longest * (1 - 1e-6)))
    total = log_left @ weight + censored * log_end
    k = -seen / total
    likelihood = seen * np.log(k * ratio[:, 0]) + (k - 1) * (log_left @ weight)
    likelihood += k * censored * log_end
    mean = float((excess @ weight + censored * censored_at) / seen)
    best = int(np.argmax(likelihood))
    if -seen * np.log(mean) - seen >= likelihood[best]:
        return mean, 0.0
    return float(1 / (k[best] * ratio[best, 0])), float(-1 / k[best])


def _curve(mass: Mass, tail: Tail, pairs_of_people: int) -> Scores:
    reached = np.cumsum(mass[::-1])[::-1] / mass.sum()
    with np.errstate(divide="ignore"):
        counted = np.log10(np.minimum(reached, 1))
    curve = np.where(tail.threshold < GRID, tail.log10_at(GRID), counted)
    return np.asarray(np.maximum(curve, -np.log10(pairs_of_people) - FLOOR_DECADES))


def _below(genuine: Mass) -> Scores:
    return np.asarray(np.append(0, np.cumsum(genuine)[:-1]) / genuine.sum())


def _confidence(comparisons: Comparisons, log10_fmr: Scores) -> Scores:
    """Isotonic regression of genuine against impostor comparisons, both classes weighing the same.

    Impostors come from the fitted FMR. One comparison of two photos is added to the genuine side of
    every pooled step, a hundredth of a pair of people to the other (Laplace's rule of succession,
    and the FMR's floor), so that it never says 0 or 1.
    """
    people = comparisons.genuine.sum()
    impostor = -np.diff(np.append(10**log10_fmr, 0)) * comparisons.pairs_of_people
    steps = _pooled(comparisons.genuine, impostor)
    same = (steps[:, 0] + people / comparisons.genuine_pairs) / people
    different = (steps[:, 1] + 10.0**-FLOOR_DECADES) / comparisons.pairs_of_people
    share = np.maximum.accumulate(same / (same + different))
    return np.repeat(share, steps[:, 2].astype(np.int64))


def _pooled(genuine: Mass, impostor: Mass) -> NDArray[np.float64]:
    """Pool adjacent violators (Ayer et al. 1955): rows of genuine, impostors, points of the grid.

    Neighbours are pooled until the odds genuine : impostor grow from row to row.
    """
    rows: list[tuple[float, float, int]] = []
    for same, different in zip(genuine.tolist(), impostor.tolist(), strict=True):
        row = (same, different, 1)
        while rows and rows[-1][0] * row[1] >= row[0] * rows[-1][1]:
            last = rows.pop()
            row = (last[0] + row[0], last[1] + row[1], last[2] + row[2])
        rows.append(row)
    return np.array(rows)
