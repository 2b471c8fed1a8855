"""Differences between two forms on the same people, and how far other people would move them.

Both forms are measured on every draw of people (see evaluation/bootstrap.py) and subtracted there:
what makes a draw easy or hard for both is no part of the difference. The seeds' figures are meant
in every draw, so an interval tells of other people, the spread over the seeds of other trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from face_models.training.channel.runs import FormRun, Vectors
from face_models.training.data import NO_IDENTITY
from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.bootstrap import Counts, Resampling
from face_models.training.measure import FALSE_ACCEPT_RATE

FIGURES = ("auc", "tar")  # tar at FALSE_ACCEPT_RATE

Figures = Mapping[str, float]
ByAnswer = Mapping[str, Mapping[str, Any]]  # answer -> figure -> value
BySeed = Mapping[str, Mapping[int, ByAnswer]]  # form -> seed -> answer -> figure -> value


@dataclass(frozen=True)
class Pairs:
    """All pairs of validation faces of known people: whose they are, genuine ones first."""

    known: NDArray[np.int64]  # the faces
    genuine: NDArray[np.int64]  # places in the upper triangle of known x known
    impostor: NDArray[np.int64]
    person: NDArray[np.int64]  # of each genuine pair
    persons: NDArray[np.int32]  # (2, impostor pairs)
    people: int

    @classmethod
    def of(cls, identity: NDArray[np.int64]) -> Self:
        known = np.flatnonzero(identity != NO_IDENTITY)
        a, b = (identity[known][side] for side in np.triu_indices(len(known), 1))
        genuine, impostor = np.flatnonzero(a == b), np.flatnonzero(a != b)
        persons = np.stack([a[impostor], b[impostor]]).astype(np.int32)
        return cls(known, genuine, impostor, a[genuine], persons, int(identity.max()) + 1)

    def weights(self, counts: Counts) -> tuple[Counts, Counts]:
        """How often each genuine and each impostor pair counts, by how often people are drawn."""
        return counts[self.person], counts[self.persons[0]] * counts[self.persons[1]]


@dataclass(frozen=True)
class Ranks:
    """Pairs as steps of the ROC, rising: odd steps at genuine scores, even ones between them.

    Impostors between two neighbouring genuine scores change no figure by their order.
    """

    genuine: NDArray[np.int32]
    impostor: NDArray[np.int32]
    steps: int

    @classmethod
    def of(cls, vectors: Vectors, pairs: Pairs) -> Self:
        known = vectors[pairs.known]
        similarity = (known @ known.T)[np.triu_indices(len(known), 1)]
        genuine, impostor = similarity[pairs.genuine], similarity[pairs.impostor]
        at = np.unique(genuine)
        below = np.searchsorted(at, impostor)
        tied = np.append(at, np.inf)[below] == impostor
        step = 2 * np.searchsorted(at, genuine) + 1
        return cls(step.astype(np.int32), (2 * below + tied).astype(np.int32), 2 * len(at) + 1)

    def figures(self, genuine_weight: Counts, impostor_weight: Counts) -> Figures:
        """AUC, ties counting half, and the share of genuine pairs accepted at the false rate."""
        genuine = np.bincount(self.genuine, genuine_weight, self.steps)
        impostor = np.bincount(self.impostor, impostor_weight, self.steps)
        genuine, impostor = genuine / genuine.sum(), impostor / impostor.sum()
        auc = float(genuine @ (np.cumsum(impostor) - impostor / 2))
        tar, far = (np.cumsum(share[::-1]) for share in (genuine, impostor))
        accepted = tar[far <= FALSE_ACCEPT_RATE]
        return {"auc": auc, "tar": float(accepted.max(initial=0))}


@dataclass(frozen=True)
class Comparison:
    """`differences` from every control, of the seeds it has, too; `intervals` of their means."""

    pairs: Pairs
    figures: BySeed
    differences: Mapping[str, BySeed]  # by control
    intervals: Mapping[str, Mapping[str, ByAnswer]]  # control -> form -> answer -> figure


def compare(
    runs: Sequence[FormRun],
    identity: NDArray[np.int64],
    controls: Sequence[str],
    resampling: Resampling,
) -> Comparison:
    pairs = Pairs.of(identity)
    ranks = {
        (run.form, run.seed): {
            name: Ranks.of(answer, pairs) for name, answer in run.answers.items()
        }
        for run in runs
    }

    def measured(counts: Counts) -> dict[str, dict[int, ByAnswer]]:
        weights = pairs.weights(counts)
        found: dict[str, dict[int, ByAnswer]] = {}
        for (form, seed), answers in ranks.items():
            by_answer = {name: ranked.figures(*weights) for name, ranked in answers.items()}
            found.setdefault(form, {})[seed] = by_answer
        return found

    def mean_differences(counts: Counts) -> dict[str, Any]:
        drawn = measured(counts)
        return {
            control: {
                form: _mean_over_seeds(by_seed)
                for form, by_seed in differences(drawn, control).items()
            }
            for control in controls
        }

    figures = measured(np.ones(pairs.people))
    return Comparison(
        pairs,
        figures,
        {control: differences(figures, control) for control in controls},
        bootstrap.intervals(mean_differences, pairs.people, resampling, "people drawn"),
    )


def differences(figures: BySeed, control: str) -> dict[str, dict[int, ByAnswer]]:
    """Of every other form to the control with the same seed."""
    ours = figures[control]
    return {
        form: {seed: _minus(by_seed[seed], ours[seed]) for seed in by_seed if seed in ours}
        for form, by_seed in figures.items()
        if form != control and by_seed.keys() & ours.keys()
    }


def _minus(one: ByAnswer, other: ByAnswer) -> ByAnswer:
    return {
        answer: {name: figures[name] - other[answer][name] for name in FIGURES}
        for answer, figures in one.items()
    }


def _mean_over_seeds(by_seed: Mapping[int, ByAnswer]) -> ByAnswer:
    answers = list(by_seed.values())
    return {
        answer: {name: float(np.mean([one[answer][name] for one in answers])) for name in FIGURES}
        for answer in answers[0]
    }
