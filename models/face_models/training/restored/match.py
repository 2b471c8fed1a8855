"""Is the person still found? Probes under treatment against a gallery of photos as they were.

A person's first photo is enrolled, some of the others are searched for. The bootstrap draws people,
the same ones for every treatment, so differences between treatments have intervals of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.bootstrap import Resampling

BINS: Final = 4096  # of similarities -1..1; ties within a bin count half
FALSE_ACCEPT_RATE: Final = 1e-3

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]
Weights = NDArray[np.float64]
Figures = dict[str, float]


@dataclass(frozen=True)
class Searches:
    """Faces by number: `gallery[p]` is person p's photo, `probes[i]` one of person `person[i]`."""

    gallery: Numbers
    probes: Numbers
    person: Numbers


def searches_of(faces: FaceSet, most_probes: int, seed: int) -> Searches:
    """Every person with two photos; at most so many probes each, drawn at random."""
    random = np.random.default_rng(seed)
    gallery: list[int] = []
    probes: list[int] = []
    person: list[int] = []
    for identity in np.unique(faces.identity[faces.identity != NO_IDENTITY]):
        photos = random.permutation(np.flatnonzero(faces.identity == identity))
        searched = photos[1 : 1 + most_probes]
        person += [len(gallery)] * len(searched)
        gallery.append(photos[0])
        probes += searched.tolist()
    return Searches(np.array(gallery), np.array(probes), np.array(person))


@dataclass(frozen=True)
class Comparisons:
    """Every probe (rows) with everybody enrolled (columns)."""

    scores: NDArray[np.float32]
    person: Numbers

    @property
    def genuine(self) -> NDArray[np.float32]:
        return self.scores[np.arange(len(self.person)), self.person]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether nobody else is as similar."""
        others = self.scores.copy()
        others[np.arange(len(self.person)), self.person] = -np.inf
        return np.asarray(self.genuine > others.max(axis=1))

    @property
    def bins(self) -> Numbers:
        return np.clip((self.scores + 1) / 2 * BINS, 0, BINS - 1).astype(np.int64)


def compare(probes: Vectors, gallery: Vectors, person: Numbers) -> Comparisons:
    return Comparisons(probes @ gallery.T, person)


def measure(
    by_treatment: Mapping[str, Comparisons],
    differences: Mapping[str, tuple[str, str]],
    resampling: Resampling,
) -> dict[str, Any]:
    """`figures` and `intervals` by treatment, and of each difference (name -> (these, those))."""
    prepared = {name: _Prepared.of(one) for name, one in by_treatment.items()}
    people = next(iter(by_treatment.values())).scores.shape[1]

    def figures(counts: Weights) -> dict[str, Any] | None:
        if np.count_nonzero(counts) < 2:
            return None  # one person drawn every time: nobody to be taken for
        told: dict[str, Any] = {name: one.figures(counts) for name, one in prepared.items()}
        return told | {
            name: {key: told[these][key] - told[those][key] for key in told[these]}
            for name, (these, those) in differences.items()
        }

    return {
        "figures": figures(np.ones(people)),
        "intervals": bootstrap.intervals(figures, people, resampling, "match bootstrap"),
    }


@dataclass(frozen=True)
class _Prepared:
    """What does not change from draw to draw."""

    genuine: NDArray[np.float32]
    found: NDArray[np.bool_]
    person: Numbers
    genuine_bins: Numbers
    bins: Numbers

    @classmethod
    def of(cls, comparisons: Comparisons) -> _Prepared:
        bins, person = comparisons.bins, comparisons.person
        own = bins[np.arange(len(person)), person]
        return cls(comparisons.genuine, comparisons.found, person, own, bins.ravel())

    def figures(self, counts: Weights) -> Figures:
        """The gallery stays as it is for rank-1; pairs count as often as both people were drawn."""
        weights = counts[self.person]
        pairs = np.outer(weights, counts)
        pairs[np.arange(len(self.person)), self.person] = 0
        genuine = np.bincount(self.genuine_bins, weights, minlength=BINS) / weights.sum()
        impostor = np.bincount(self.bins, pairs.ravel(), minlength=BINS) / pairs.sum()
        return {
            "similarity": float(np.average(self.genuine, weights=weights)),
            "rank_1": float(np.average(self.found, weights=weights)),
            "auc": _auc(genuine, impostor),
            "tar": _true_accepts(genuine, impostor),
        }


def _auc(genuine: Weights, impostor: Weights) -> float:
    """P(genuine > impostor) + P(equal) / 2, of two histograms."""
    below = np.cumsum(impostor) - impostor
    return float((genuine * (below + impostor / 2)).sum())


def _true_accepts(genuine: Weights, impostor: Weights) -> float:
    """Share of genuine pairs above the lowest threshold that keeps the false accept rate."""
    tail = np.append(np.cumsum(impostor[::-1])[::-1], 0)
    threshold = int(np.argmax(tail <= FALSE_ACCEPT_RATE))
    return float(genuine[threshold:].sum())
