"""Every photo of known people beside every other, counted by similarity.

Every ordered pair of photos of different people is an impostor comparison, one photo the probe.
Pairs of people weigh the same however many photos they have: a search meets people, and somebody
with forty photos is still one. Relatives are kept apart, for a gallery holds few of a probe's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.calibration_table import Curve, Isolation, Scores, on_probes_scale

STEP: Final = 0.005
GRID: Final = np.linspace(-0.5, 1, round(1.5 / STEP) + 1)
TAIL_FMR: Final = 1e-3
DIGITS: Final = 5

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


def blocks(count: int, size: int = 512) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def rounded(curve: Scores, digits: int = DIGITS) -> Curve:
    return tuple(np.round(curve, digits).tolist())
