"""The errors of one threshold, told apart by what the photos are like or whom they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_models.training.evaluation.verification import Flags, Scores

QUALITY_EDGES = (25, 50, 75)
AGE_EDGES = (3, 13, 20, 40, 60)
UNKNOWN = "unknown"

Labels = NDArray[np.str_]


@dataclass(frozen=True)
class Errors:
    """Of one group of comparisons at a threshold that was set over all groups together.

    `fmr` and `fnmr` are shares 0..1, None where the group has no comparisons of that kind.
    """

    genuine: int
    impostor: int
    fmr: float | None
    fnmr: float | None


def errors_by(labels: Labels, scores: Scores, same: Flags, threshold: float) -> dict[str, Errors]:
    """Errors of each label's comparisons (n,), the labels in their own order."""
    return {
        str(label): errors_at(scores[labels == label], same[labels == label], threshold)
        for label in np.unique(labels)
    }


def errors_at(scores: Scores, same: Flags, threshold: float) -> Errors:
    accepted = scores >= threshold
    genuine, impostor = int(same.sum()), int((~same).sum())
    return Errors(
        genuine=genuine,
        impostor=impostor,
        fmr=float(accepted[~same].mean()) if impostor else None,
        fnmr=float(1 - accepted[same].mean()) if genuine else None,
    )


def band(value: float | None, edges: Sequence[int]) -> str:
    """Name of the band that a value falls into: `00-24`, `25-49` … `75+` for edges 25, 50, 75."""
    if value is None or np.isnan(value):
        return UNKNOWN
    number = int(np.searchsorted(edges, value, side="right"))
    if number == len(edges):
        return f"{edges[-1]:02}+"
    return f"{([0, *edges])[number]:02}-{edges[number] - 1:02}"


def poorer_band(qualities: Mapping[str, int | None], a: str, b: str) -> str:
    """Quality band of a comparison: that of the poorer photo."""
    both = (qualities[a], qualities[b])
    known = [quality for quality in both if quality is not None]
    return band(min(known), QUALITY_EDGES) if len(known) == len(both) else UNKNOWN
