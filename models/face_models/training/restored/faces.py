"""Who learns and who judges: no person, and no face of known age, does both.

People: the data set's own split. Ages are known of UTKFace photos alone, all in `train`, without
names, so they are split here: photos that the teacher takes for one person stay together, a tenth
of them chooses, a tenth is for the report, and whatever in `train` resembles one of those two
tenths is left out of all training of this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from face_models.training import data
from face_models.training.data import FaceSet
from face_models.training.restored.networks import OLDEST_YEARS
from face_models.training.robustness.conditions import seeded

RESEMBLES: Final = 0.5  # the teacher's cosine, as the data set's own cleaning takes it
LINKED: Final = 0.6  # of two photos held together; any lower, and all small children are one person
PARTS_SEED: Final = 5
CHOOSING: Final = 0.1
REPORTING: Final = 0.1
AGES: Final = "age_years"  # a column; a set of one's own photos has none
NO_AGE: Final = -1.0
ROWS_AT_ONCE: Final = 2048

Numbers = NDArray[np.int64]
Years = NDArray[np.float32]


@dataclass(frozen=True)
class Aged:
    """Faces of known age; `group` numbers those that may be one person."""

    faces: FaceSet
    years: Years
    group: Numbers

    def __len__(self) -> int:
        return len(self.years)

    def subset(self, chosen: Numbers) -> Aged:
        return Aged(self.faces.subset(chosen), self.years[chosen], self.group[chosen])


@dataclass(frozen=True)
class Material:
    """`learning`: region and restoration; `validation`: other people, with names, no ages."""

    learning: FaceSet
    validation: FaceSet
    aged_learning: Aged
    aged_choosing: Aged
    aged_reporting: Aged


def load(data_dir: Path, cache_dir: Path) -> Material:
    everyone = data.load(data_dir, cache_dir, "train")
    aged = _aged(everyone, data_dir)
    part = parts_of(aged.group)
    learning, choosing, reporting = (aged.subset(np.flatnonzero(part == n)) for n in range(3))
    judges = np.concatenate([choosing.faces.teacher, reporting.faces.teacher])
    return Material(
        learning=everyone.subset(strangers_to(judges, everyone.teacher)),
        validation=data.load(data_dir, cache_dir, "val"),
        aged_learning=learning,
        aged_choosing=choosing,
        aged_reporting=reporting,
    )


def _aged(everyone: FaceSet, data_dir: Path) -> Aged:
    years = _years(data_dir)[everyone.rows]
    chosen = np.flatnonzero(years != NO_AGE)
    faces = everyone.subset(chosen)
    return Aged(faces, np.minimum(years[chosen], OLDEST_YEARS), groups_of(faces.teacher))


def _years(data_dir: Path) -> Years:
    """Of every photo of the data set."""
    files = sorted((data_dir / "train").glob("faces-*.parquet"))
    told = [age for file in files for age in _column(file)]
    return np.array([NO_AGE if age is None else age for age in told], dtype=np.float32)


def _column(file: Path) -> list[float | None]:
    if AGES not in pq.read_schema(file).names:
        return [None] * int(pq.read_metadata(file).num_rows)
    ages: list[float | None] = pq.read_table(file, columns=[AGES])[AGES].to_pylist()
    return ages


def groups_of(vectors: NDArray[np.float32]) -> Numbers:
    """(n,) the lowest row that each row of unit vectors is linked to, over pairs alike enough."""
    group = np.arange(len(vectors))
    a, b = _alike(vectors, vectors, LINKED)
    while True:
        before = group.copy()
        np.minimum.at(group, a, group[b])
        if np.array_equal(before, group):
            return group


def parts_of(group: Numbers) -> Numbers:
    """0 learns, 1 chooses, 2 reports; a whole group does one of them."""
    share = np.array([seeded(PARTS_SEED, one).random() for one in group.tolist()])
    return np.where(share < CHOOSING, 1, np.where(share < CHOOSING + REPORTING, 2, 0))


def strangers_to(judges: NDArray[np.float32], vectors: NDArray[np.float32]) -> Numbers:
    """The rows of `vectors` that resemble none of the judges."""
    rows, _ = _alike(vectors, judges, RESEMBLES)
    return np.setdiff1d(np.arange(len(vectors)), rows)


def _alike(
    a: NDArray[np.float32], b: NDArray[np.float32], cosine: float
) -> tuple[Numbers, Numbers]:
    """Rows of `a` and of `b` whose cosine is above that."""
    rows, columns = [], []
    for start in range(0, len(a), ROWS_AT_ONCE):
        row, column = np.nonzero(a[start : start + ROWS_AT_ONCE] @ b.T > cosine)
        rows.append(row + start)
        columns.append(column)
    return np.concatenate(rows), np.concatenate(columns)
