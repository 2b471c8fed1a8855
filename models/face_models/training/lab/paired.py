"""An arm against its rival: people drawn with replacement, seeds too; signs flipped by person.

Both arms are measured on every draw and subtracted there. The interval tells of other people and,
of several seeds, other trainings; the p-value (a paired permutation test: whose answers to a
person's photos are whose) of these trainings alone. What is called shown passes both, and Holm's
correction over all comparisons of one arm with one rival in a study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_models.training.evaluation.bootstrap import PERCENTILES
from face_models.training.lab.photos import Rows
from face_models.training.lab.scores import Score, Weights, score

LEVEL = 0.05
FIGURES = ("macro_f1", "accuracy")
BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"

BySeed = Mapping[int, Sequence[Rows]]  # predictions of every repeat of one condition


@dataclass(frozen=True)
class Resampling:
    draws: int
    flips: int
    seed: int


@dataclass(frozen=True)
class Difference:
    """Arm minus rival, mean over seeds and repeats; 95 % intervals; `p` of macro-F1."""

    macro_f1: float
    macro_f1_interval: tuple[float, float]
    accuracy: float
    accuracy_interval: tuple[float, float]
    by_seed: dict[int, float]  # of macro-F1
    p: float


def compare(
    arm: BySeed, rival: BySeed, truth: Rows, people: int, resampling: Resampling
) -> Difference:
    seeds = sorted(arm)
    each = {
        seed: _difference(arm[seed], rival[seed], truth, people, np.ones(people)) for seed in seeds
    }
    drawn = _drawn(arm, rival, truth, people, resampling)
    middle = np.mean(list(each.values()), axis=0)
    low, high = np.percentile(drawn, PERCENTILES, axis=0)
    return Difference(
        macro_f1=float(middle[0]),
        macro_f1_interval=(float(low[0]), float(high[0])),
        accuracy=float(middle[1]),
        accuracy_interval=(float(low[1]), float(high[1])),
        by_seed={seed: float(found[0]) for seed, found in each.items()},
        p=flip_test(arm, rival, truth, people, resampling),
    )


def _drawn(
    arm: BySeed, rival: BySeed, truth: Rows, people: int, resampling: Resampling
) -> NDArray[np.float64]:
    """(draws, 2): macro-F1 and accuracy differences of drawn people and seeds."""
    random = np.random.default_rng(resampling.seed)
    seeds = sorted(arm)
    here = np.unique(truth)
    found = np.empty((resampling.draws, len(FIGURES)))
    for draw in range(resampling.draws):
        counts = np.zeros(people)
        np.add.at(counts, random.choice(here, len(here)), 1)
        chosen = random.choice(seeds, len(seeds))
        found[draw] = np.mean(
            [_difference(arm[s], rival[s], truth, people, counts) for s in chosen], axis=0
        )
    return found


def _difference(
    arm: Sequence[Rows], rival: Sequence[Rows], truth: Rows, people: int, weights: Weights
) -> NDArray[np.float64]:
    ours, theirs = (
        np.mean([_numbers(score(one, truth, people, weights)) for one in repeats], axis=0)
        for repeats in (arm, rival)
    )
    return np.asarray(ours - theirs)


def _numbers(found: Score) -> tuple[float, float]:
    return found.macro_f1, found.accuracy


def flip_test(
    arm: BySeed, rival: BySeed, truth: Rows, people: int, resampling: Resampling
) -> float:
    """Two-sided p of a macro-F1 difference so far from zero, if the arms' names meant nothing.

    A flip hands all answers to one person's photos, of every seed and repeat, to the other arm;
    both arms have the same repeats.
    """
    here = np.unique(truth)
    random = np.random.default_rng(resampling.seed)
    kept = random.integers(0, 2, (resampling.flips, len(here))).astype(np.float64)
    as_it_is = np.ones((1, len(here)))
    pairs = [
        (_counted(ours, truth, people), _counted(theirs, truth, people))
        for seed in arm
        for ours, theirs in zip(arm[seed], rival[seed], strict=True)
    ]
    found = abs(float(np.mean([_swapped(as_it_is, *pair) for pair in pairs])))
    flipped = np.abs(np.mean([_swapped(kept, *pair) for pair in pairs], axis=0))
    rounding = 1e-12
    as_far = (flipped >= found - rounding).sum()
    return float((1 + as_far) / (1 + resampling.flips))


@dataclass(frozen=True)
class _Counted:
    """Answers of one training: `there` and `hits` by person, `claimed` by person and answer."""

    there: NDArray[np.float64]
    hits: NDArray[np.float64]
    claimed: NDArray[np.float64]  # whose photos -> who they were taken for, both of people here


def _counted(predicted: Rows, truth: Rows, people: int) -> _Counted:
    here = np.unique(truth)
    taken_for = np.zeros((people, people))
    np.add.at(taken_for, (truth, predicted), 1)
    among = taken_for[np.ix_(here, here)]
    return _Counted(taken_for[here].sum(axis=1), np.diagonal(among).copy(), among)


def _swapped(kept: NDArray[np.float64], ours: _Counted, theirs: _Counted) -> NDArray[np.float64]:
    """(flips,): macro-F1 of the first minus the second, where `kept` (flips, people) is 1 or 0."""
    first = _macro_f1(kept, ours, theirs)
    return np.asarray(first - _macro_f1(1 - kept, ours, theirs))


def _macro_f1(share: NDArray[np.float64], ours: _Counted, theirs: _Counted) -> NDArray[np.float64]:
    hits = share * ours.hits + (1 - share) * theirs.hits
    claimed = share @ ours.claimed + (1 - share) @ theirs.claimed
    return np.asarray((2 * hits / (claimed + ours.there)).mean(axis=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


def verdict(difference: Difference, adjusted_p: float) -> str:
    low, high = difference.macro_f1_interval
    if adjusted_p >= LEVEL or low <= 0 <= high:
        return NOT_SHOWN
    return BETTER if difference.macro_f1 > 0 else WORSE
