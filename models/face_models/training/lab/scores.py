"""Macro-F1 and accuracy of closed-set recognition, of weighted photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_models.training.lab.photos import Rows

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    macro_f1: float
    accuracy: float


def score(predicted: Rows, truth: Rows, people: int, weights: Weights | None = None) -> Score:
    """`weights` by person (people,): how often each counts, with all photos; once without."""
    weights = np.ones(people) if weights is None else weights
    counts = weights[truth]
    right = predicted == truth
    hits = _summed(truth[right], counts[right], people)
    claimed, there = (_summed(rows, counts, people) for rows in (predicted, truth))
    return Score(_macro(hits, claimed, there, weights), float(hits.sum() / there.sum()))


def _macro(hits: Weights, claimed: Weights, there: Weights, weights: Weights) -> float:
    """The mean over people who have photos; F1 is 2 hits / (claimed + there)."""
    seen = there > 0
    f1 = 2 * hits[seen] / (claimed[seen] + there[seen])
    return float(np.average(f1, weights=weights[seen]))


def _summed(person: Rows, counts: Weights, people: int) -> Weights:
    return np.bincount(person, counts, people).astype(np.float64)
