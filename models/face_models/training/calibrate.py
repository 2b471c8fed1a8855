"""Fits the calibration of one template: isolation of people, FMR with its tail and interval.

Every ordered pair of photos of different people is an impostor comparison, one photo the probe.
Pairs of people weigh the same however many photos they have: a search meets people, and somebody
with forty photos is still one. Relatives are kept apart, for a gallery holds few of a probe's.

Isolation
    Regression of ln(distance to the third nearest stranger) on the embedding, by least squares,
    over people of the `train` split, so that it is settled before a validation face is looked at.
    The third, because a photo under a wrong name is nearest to itself. The rule is then taken as
    often as makes these people's false matches clump least.
Tail
    Generalised Pareto over the similarity that one impostor comparison in a thousand reaches, by
    maximum likelihood with censoring: of the highest hundredth of the tail only the number counts,
    so that people who are in the data under two names do not decide it. A cosine ends at 1, so the
    tail must not end before (shape >= -scale / (1 - threshold)) and is no heavier than exponential.
    For a fixed ratio shape / scale the shape has a closed form (Grimshaw 1993, Technometrics 35-2).
Dispersion
    The size of the negative binomial distribution with the mean number of false matches, and the
    share of searches without one, that are found when everybody is searched for in galleries of
    others, one photo each, as large as gives a few tenths of a false match a search.
Interval
    Percentile bootstrap over families: comparisons share faces, faces share parents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.calibration import (
    DISPERSION_LOG10_FMR,
    FLOOR_DECADES,
    CalibrationTable,
    Curve,
    Isolation,
    Scores,
    Tail,
    on_probes_scale,
)

STEP: Final = 0.005
GRID: Final = np.linspace(-0.5, 1, round(1.5 / STEP) + 1)
TAIL_FMR: Final = 1e-3
TAIL_PAIRS: Final = 60  # of few people the tail starts earlier, where so many comparisons are left
CENSORED_SHARE: Final = 1e-2  # of the tail
RATIOS: Final = 400  # of shape and scale that are tried
STRANGER_RANK: Final = 3
PHOTOS_PER_WEIGHT: Final = 8
STRENGTHS: Final = (0.0, 1.0, 1.25, 1.5, 1.75, 2.0)
RIDGE: Final = 0.1  # in photos: only keeps the equations solvable
REPLICATES: Final = 400
REPLICATES_AT_ONCE: Final = 40
INTERVAL: Final = (2.5, 97.5)
DIGITS: Final = 5
CONFIDENCE_DIGITS: Final = 9  # odds of a million to one are told from certainty
MEAN_FALSE_MATCHES: Final = 0.3  # a search
GALLERIES: Final = 20
DISPERSIONS: Final = (0.1, 1000.0)
"""Clumps beyond the former may be a few probes' quirks; the latter is all but Poisson."""
DISPERSION_PRECISION: Final = 1e-4
MIN_FAMILIES: Final = 10

Vectors = NDArray[np.float32]  # (n, d), L2-normalised
Labels = NDArray[np.int64]  # (n,)
Mass = NDArray[np.float64]  # (bins,) from each point of the grid to the next


@dataclass(frozen=True)
class Faces:
    """Embeddings of known people; row i of every field speaks of the same photo.

    `person` and `family` are numbered from 0; strangers are people of different families.
    """

    vectors: Vectors
    person: Labels
    family: Labels

    @property
    def people(self) -> int:
        return int(self.person.max()) + 1

    @property
    def families(self) -> int:
        return int(self.family.max()) + 1

    def of_families(self, chosen: NDArray[np.bool_]) -> Faces:
        """Only the photos of those families (families,), numbered anew."""
        rows = chosen[self.family]
        person, family = (
            np.unique(labels[rows], return_inverse=True)[1] for labels in (self.person, self.family)
        )
        return Faces(self.vectors[rows], person, family)


@dataclass(frozen=True)
class Comparisons:
    """All comparisons of a set of faces, counted per step of the grid.

    `strangers` (families, families, bins): probe's family, other's family. A pair of people
    weighs 1 in total, so does a person with herself in `genuine` (bins,).
    """

    strangers: NDArray[np.float64]
    relatives: Mass
    genuine: Mass
    people: int
    pairs_of_people: int
    genuine_pairs: int
    impostor_pairs: int


def fit_isolation(cohort: Faces) -> Isolation:
    """From one photo each of a few thousand people; of too few nothing is learnt."""
    dimensions = cohort.vectors.shape[1]
    if len(cohort.vectors) < PHOTOS_PER_WEIGHT * dimensions:
        return no_isolation(dimensions)
    rule = _regressed(cohort)
    return max((_times(rule, often) for often in STRENGTHS), key=lambda r: _evenness(cohort, r))


def _regressed(cohort: Faces) -> Isolation:
    nearest = np.concatenate(
        [_nearest_stranger(cohort, rows) for rows in _blocks(len(cohort.vectors))]
    )
    target = np.log(np.maximum(1 - nearest, STEP))
    design = np.c_[cohort.vectors, np.ones(len(target))].astype(np.float64)
    normal = design.T @ design + RIDGE * np.eye(design.shape[1])
    solved = np.linalg.solve(normal, design.T @ target)
    median = float(np.median(design @ solved))
    return Isolation(weights=tuple(solved[:-1].tolist()), intercept=float(solved[-1]) - median)


def _times(rule: Isolation, often: float) -> Isolation:
    return Isolation(
        weights=_rounded(often * np.array(rule.weights)),
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
            for rows in _blocks(len(cohort.vectors))
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


def _blocks(count: int, size: int = 512) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def compare(faces: Faces, isolation: Isolation) -> Comparisons:
    """Every photo as a probe against every other photo."""
    bins, photos = len(GRID), np.bincount(faces.person)
    scale = isolation.of(faces.vectors)
    strangers = np.zeros((faces.families, faces.families, bins))
    relatives, genuine, genuine_pairs, impostor_pairs = np.zeros(bins), np.zeros(bins), 0, 0
    for family in range(faces.families):
        rows = np.flatnonzero(faces.family == family)
        similarity = faces.vectors[rows] @ faces.vectors.T
        step = step_of(on_probes_scale(similarity, scale[rows, None]))
        weight = 1 / (photos[faces.person[rows], None] * photos[faces.person])
        cell = faces.family * bins + step
        counted = np.bincount(cell.ravel(), weight.ravel(), faces.families * bins)
        strangers[family] = counted.reshape(faces.families, bins)
        strangers[family, family] = 0
        same = faces.person[rows, None] == faces.person
        related = (faces.family == family) & ~same
        relatives += np.bincount(step[related], weight[related], bins)
        others = same & (rows[:, None] != np.arange(len(faces.person)))
        pairs_of_one = photos[faces.person[rows], None] * (photos[faces.person] - 1)
        genuine += np.bincount(step[others], 1 / pairs_of_one[others], bins)
        genuine_pairs += int(others.sum())
        impostor_pairs += len(rows) * int((faces.family != family).sum())
    return Comparisons(
        strangers=strangers,
        relatives=relatives,
        genuine=genuine,
        people=faces.people,
        pairs_of_people=round(strangers.sum() / 2),
        genuine_pairs=genuine_pairs // 2,
        impostor_pairs=impostor_pairs // 2,
    )


def step_of(similarity: Scores) -> NDArray[np.int64]:
    """The last point of the grid that is not above; a rounding error below it counts as at it."""
    steps = np.floor((np.asarray(similarity) - GRID[0]) / STEP + 1e-6)
    return np.asarray(np.clip(steps, 0, len(GRID) - 1), dtype=np.int64)


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
        return _rounded(np.minimum.accumulate(found[::-1])[::-1])


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
        similarity=_rounded(GRID),
        log10_fmr=_rounded(log10_fmr),
        log10_fmr_low=_rounded(low),
        log10_fmr_high=_rounded(high),
        fnmr=_rounded(_below(comparisons.genuine)),
        confidence=_rounded(_confidence(comparisons, log10_fmr), CONFIDENCE_DIGITS),
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
    for block in _blocks(count, REPLICATES_AT_ONCE):
        once = (times[block].astype(np.float64) @ flat).reshape(-1, families, bins)
        masses = np.einsum("rf,rfb->rb", times[block], once)
        for row, mass in zip(times[block], masses, strict=True):
            curve = _curve(mass, fit_tail(mass), comparisons.pairs_of_people)
            yield Replicate(curve, found.dispersion(row))


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


def _rounded(curve: Scores, digits: int = DIGITS) -> Curve:
    return tuple(np.round(curve, digits).tolist())
