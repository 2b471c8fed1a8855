"""The training faces that the demo people are made of, and the teacher that judges them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]  # (H, W, 3)
Floats = NDArray[np.float32]
CROP_PX = 112


@dataclass(frozen=True)
class Faces:
    """The training split, one row a photo."""

    images: pa.ChunkedArray
    identity: NDArray[np.str_]
    teacher: Floats  # (n, 128), L2-normalised
    traits: Floats  # (n, 2): sex -1..1 and age / 15 years, both guessed from `teacher`

    def photo(self, row: int) -> Rgb:
        with Image.open(io.BytesIO(self.images[row].as_py())) as image:
            return np.asarray(image.convert("RGB"))


class Teacher:
    def __init__(self, file: Path) -> None:
        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def embed(self, crops: Sequence[Rgb]) -> Floats:
        """(n, 128), L2-normalised, of n aligned 112 x 112 crops."""
        batch = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
        embeddings: Floats = self._session.run(None, {"rgb": np.ascontiguousarray(batch)})[0]
        return embeddings


def read_faces(folder: Path) -> Faces:
    table = pa.concat_tables(
        [pq.read_table(file) for file in sorted(folder.glob("faces-*.parquet"))]
    )
    table = table.filter(pa.compute.equal(table["split"], "train"))
    teacher = np.array(table["teacher"].to_pylist(), dtype=np.float32)
    sex, age = (table[name].to_numpy().astype(np.float32) for name in ("sex", "age_years"))
    traits = np.stack([guess(teacher, 2 * sex - 1), guess(teacher, age) / 15], axis=1)
    identity = np.array([name or "" for name in table["identity"].to_pylist()])
    return Faces(table["image"], identity, teacher, traits.astype(np.float32))


def guess(teacher: Floats, labels: Floats) -> Floats:
    """Ridge regression of a label on the embedding, for every row; NaN labels teach nothing."""
    inputs = np.c_[teacher, np.ones(len(teacher))]
    known = ~np.isnan(labels)
    gram = inputs[known].T @ inputs[known] + np.eye(inputs.shape[1])
    return np.asarray(
        inputs @ np.linalg.solve(gram, inputs[known].T @ labels[known]), dtype=np.float32
    )
