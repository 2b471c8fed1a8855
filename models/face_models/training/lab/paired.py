"""An arm against its rival: people drawn with replacement, seeds too; signs flipped by person.

Both arms are measured on every draw and subtracted there. The interval tells of other people and
other trainings, the p-value (a paired permutation test) of these trainings alone; what is called
shown passes both, and Holm's correction over all comparisons of a report's table.
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
    """Arm minus rival, mean over seeds and repeats; 95 % intervals; `p` of accuracy by person."""

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
        p=flip_test(_by_person(arm, rival, truth, people), resampling),
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


def _by_person(arm: BySeed, rival: BySeed, truth: Rows, people: int) -> NDArray[np.float64]:
    """Difference of the share of right answers, person by person; those with photos alone."""
    gain = np.mean(
        [
            (np.mean([one == truth for one in arm[s]], axis=0))
            - (np.mean([one == truth for one in rival[s]], axis=0))
            for s in arm
        ],
        axis=0,
    )
    photos = np.bincount(truth, minlength=people)
    return np.asarray((np.bincount(truth, gain, people) / np.maximum(photos, 1))[photos > 0])


def flip_test(differences: NDArray[np.float64], resampling: Resampling) -> float:
    """Two-sided p of a mean so far from zero, if every sign could as well be the other."""
    random = np.random.default_rng(resampling.seed)
    signs = random.choice(np.array([-1.0, 1.0]), (resampling.flips, len(differences)))
    flipped = np.abs((signs * differences).mean(axis=1))
    rounding = 1e-12
    as_far = (flipped >= abs(differences.mean()) - rounding).sum()
    return float((1 + as_far) / (1 + resampling.flips))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


def verdict(difference: Difference, adjusted_p: float) -> str:
    low, high = difference.accuracy_interval
    if adjusted_p >= LEVEL or low <= 0 <= high:
        return NOT_SHOWN
    return BETTER if difference.accuracy > 0 else WORSE
