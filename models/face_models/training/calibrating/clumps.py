"""False matches come in clumps: the isolation that spreads them, the dispersion that remains.

Isolation
    Regression of ln(distance to the third nearest stranger) on the embedding, by least squares,
    over people of the `train` split, so that it is settled before a validation face is looked at.
    The third, because a photo under a wrong name is nearest to itself. The rule is then taken as
    often as makes these people's false matches clump least.
Dispersion
    The size of the negative binomial distribution with the mean number of false matches, and the
    share of searches without one, that are found when everybody is searched for in galleries of
    others, one photo each, as large as gives a few tenths of a false match a search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.calibration_table import (
    DISPERSION_LOG10_FMR,
    Curve,
    Isolation,
    Scores,
    on_probes_scale,
)
from face_models.training.calibrating.comparisons import (
    DIGITS,
    STEP,
    TAIL_FMR,
    Faces,
    Labels,
    blocks,
    rounded,
)

STRANGER_RANK: Final = 3
PHOTOS_PER_WEIGHT: Final = 8
STRENGTHS: Final = (0.0, 1.0, 1.25, 1.5, 1.75, 2.0)
RIDGE: Final = 0.1  # in photos: only keeps the equations solvable
MEAN_FALSE_MATCHES: Final = 0.3  # a search
GALLERIES: Final = 20
DISPERSIONS: Final = (0.1, 1000.0)
"""Clumps beyond the former may be a few probes' quirks; the latter is all but Poisson."""
DISPERSION_PRECISION: Final = 1e-4


def fit_isolation(cohort: Faces) -> Isolation:
    """From one photo each of a few thousand people; of too few nothing is learnt."""
    dimensions = cohort.vectors.shape[1]
    if len(cohort.vectors) < PHOTOS_PER_WEIGHT * dimensions:
        return no_isolation(dimensions)
    rule = _regressed(cohort)
    return max((_times(rule, often) for often in STRENGTHS), key=lambda r: _evenness(cohort, r))


def _regressed(cohort: Faces) -> Isolation:
    nearest = np.concatenate(
        [_nearest_stranger(cohort, rows) for rows in blocks(len(cohort.vectors))]
    )
    target = np.log(np.maximum(1 - nearest, STEP))
    design = np.c_[cohort.vectors, np.ones(len(target))].astype(np.float64)
    normal = design.T @ design + RIDGE * np.eye(design.shape[1])
    solved = np.linalg.solve(normal, design.T @ target)
    median = float(np.median(design @ solved))
    return Isolation(weights=tuple(solved[:-1].tolist()), intercept=float(solved[-1]) - median)


def _times(rule: Isolation, often: float) -> Isolation:
    return Isolation(
        weights=rounded(often * np.array(rule.weights)),
        intercept=round(often * rule.intercept, DIGITS),
    )


def _evenness(cohort: Faces, rule: Isolation) -> float:
    """Dispersion of the cohort's false matches where one comparison in a thousand is one."""
    scale = rule.of(cohort.vectors)
    scores = np.concatenate(
        [
            np.where(
                cohort.family[rows, None] != cohort.family,
                on_probes_scale(cohort.vectors[rows] @ cohort.vectors.T, scale[rows, None]),
                -np.inf,
            ).astype(np.float32)
            for rows in blocks(len(cohort.vectors))
        ]
    )
    rarest = int(scores.size * TAIL_FMR)
    threshold = np.partition(scores.ravel(), -rarest)[-rarest]
    found = (scores >= threshold).mean(axis=1)
    gallery = MEAN_FALSE_MATCHES / found.mean()
    return dispersion_of(float(np.mean((1 - found) ** gallery)), MEAN_FALSE_MATCHES)


def no_isolation(dimensions: int) -> Isolation:
    """Everybody is the median person."""
    return Isolation(weights=(0.0,) * dimensions, intercept=0.0)


def _nearest_stranger(cohort: Faces, rows: slice) -> Scores:
    similarity = cohort.vectors[rows] @ cohort.vectors.T
    similarity[cohort.family[rows, None] == cohort.family] = -1
    return np.asarray(np.partition(similarity, -STRANGER_RANK, axis=1)[:, -STRANGER_RANK])


@dataclass(frozen=True)
class FalseMatches:
    """What searches for every photo found, at each FMR of DISPERSION_LOG10_FMR.

    `none` (rates, n): share of the galleries without a false match; `mean`: how many they gave.
    """

    none: Scores
    mean: Scores
    weight: Scores  # of a photo: people weigh the same
    family: Labels

    def dispersion(self, times: NDArray[np.int64]) -> Curve:
        """With every family's probes (families,) counted so many times.

        Rarer false matches clump at least as much; where none was found, just as much.
        """
        weight = self.weight * times[self.family]
        rates = zip(
            *(np.average(v, axis=1, weights=weight) for v in (self.none, self.mean)), strict=True
        )
        found = [dispersion_of(float(none), float(mean)) for none, mean in rates]
        return rounded(np.minimum.accumulate(found[::-1])[::-1])


def false_matches(
    faces: Faces, isolation: Isolation, thresholds: Sequence[float], seed: int
) -> FalseMatches:
    """One threshold for each FMR of DISPERSION_LOG10_FMR; galleries are drawn anew each time."""
    random = np.random.default_rng(seed)
    scale, photos = isolation.of(faces.vectors), np.bincount(faces.person)
    counts = np.empty((len(thresholds), GALLERIES, len(faces.person)))
    for gallery in range(GALLERIES):
        order = random.permutation(len(faces.person))
        enrolled = order[np.sort(np.unique(faces.person[order], return_index=True)[1])]
        similarity = on_probes_scale(faces.vectors @ faces.vectors[enrolled].T, scale[:, None])
        similarity[faces.family[:, None] == faces.family[enrolled]] = -np.inf
        for rate, threshold in enumerate(thresholds):
            size = math.ceil(MEAN_FALSE_MATCHES / 10 ** DISPERSION_LOG10_FMR[rate])
            counts[rate, gallery] = (similarity[:, :size] >= threshold).sum(axis=1)
    return FalseMatches(
        none=(counts == 0).mean(axis=1),
        mean=counts.mean(axis=1),
        weight=1 / photos[faces.person],
        family=faces.family,
    )


def dispersion_of(none: float, mean: float) -> float:
    """Size k of the negative binomial with (1 + mean / k)^-k = none, by halving its logarithm.

    The largest where there is nothing to tell it from.
    """
    low, high = DISPERSIONS
    if none <= (1 + mean / high) ** -high:
        return high
    while high / low > 1 + DISPERSION_PRECISION:
        middle = (low * high) ** 0.5
        if (1 + mean / middle) ** -middle < none:
            high = middle
        else:
            low = middle
    return low
