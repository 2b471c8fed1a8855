"""What is known of the people in the training set's photos: family, age, sex, group.

Only UTKFace has ages, sexes and groups, and it has no identities: who is whom is not known, and so
neither is a false non-match. Told by group are impostor errors (pairs of two photos, taken for two
people) and whether a photo is recognised in its own mirror image. All its photos are in the `train`
split: the networks saw them, without any label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from face_models.training.data import FaceSet
from face_models.training.evaluation.breakdown import AGE_EDGES, UNKNOWN, band
from face_models.training.evaluation.protocol import UnusableInput

SEXES = {0: "male", 1: "female"}  # UTKFace's codes
GROUPS = {0: "White", 1: "Black", 2: "Asian", 3: "Indian", 4: "other"}
GROWN = tuple(band(years, AGE_EDGES) for years in (20, 40, 60))
COLUMNS = ("identity", "age_years", "sex", "group")

Labels = NDArray[np.str_]


@dataclass(frozen=True)
class People:
    """Row i of every field speaks of face i of a face set; `unknown` where nothing is known."""

    family: Labels  # `fiw/F0001`
    age: Labels  # bands of years
    sex: Labels
    group: Labels

    @property
    def by_group(self) -> dict[str, Labels]:
        """Sex and group of grown people alone.

        Children look alike, and not every group has as many children among its photos.
        """
        grown = np.isin(self.age, GROWN)
        return {
            "age": self.age,
            "sex of the grown": np.where(grown, self.sex, UNKNOWN),
            "group of the grown": np.where(grown, self.group, UNKNOWN),
        }


def people(data_dir: Path, faces: FaceSet) -> People:
    """Labels of a set's faces, from the Parquet files that the set was read from.

    Raises:
        UnusableInput: the files lack the columns of labels.
    """
    table = _columns(data_dir)
    identity, age, sex, group = ([table[name][row] for row in faces.rows] for name in COLUMNS)
    return People(
        family=np.array([_family(name) for name in identity]),
        age=np.array([band(years, AGE_EDGES) for years in age]),
        sex=np.array([SEXES.get(code, UNKNOWN) for code in sex]),
        group=np.array([GROUPS.get(code, UNKNOWN) for code in group]),
    )


def _family(identity: str | None) -> str:
    """FIW numbers families: `fiw/F0001/MID1` is of the family `fiw/F0001`."""
    if identity is None or not identity.startswith("fiw/"):
        return UNKNOWN
    return identity.rpartition("/")[0]


def _columns(data_dir: Path) -> dict[str, list[object]]:
    files = sorted((data_dir / "train").glob("faces-*.parquet"))
    missing = [name for name in COLUMNS if name not in pq.read_schema(files[0]).names]
    if missing:
        raise UnusableInput(f"{files[0]} has no column {', '.join(missing)}.")
    tables = [pq.read_table(file, columns=list(COLUMNS)) for file in files]
    return {name: [v for table in tables for v in table[name].to_pylist()] for name in COLUMNS}
