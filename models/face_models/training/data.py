"""Training faces from Parquet: decoded once into one memory-mapped array, labels beside it.

The columns are described in the data set's README: aligned 112x112 faces, identities, a train/val
split by people, and the teacher's embedding of every photo and of its mirror image.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from face_models.training.lock import locked

FACE_PX = 112
NO_IDENTITY = -1
PIXELS_FILE = "faces.npy"


@dataclass(frozen=True)
class FaceSet:
    """Faces of one split; row i of every field speaks of the same photo."""

    pixels: NDArray[np.uint8]  # (n, 112, 112, 3), RGB
    rows: NDArray[np.int64]  # (n,) where each face stands in `pixels`' own order
    identity: NDArray[np.int64]  # (n,) 0..identities-1, NO_IDENTITY where unknown
    teacher: NDArray[np.float32]  # (n, 128), L2-normalised
    teacher_flipped: NDArray[np.float32]  # (n, 128), of the mirror image
    source: NDArray[np.str_]  # (n,)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identities(self) -> int:
        return int(self.identity.max()) + 1 if len(self) else 0

    @property
    def teacher_both_ways(self) -> NDArray[np.float32]:
        """(n, 128): what the teacher says of the photo and its mirror image together."""
        return _unit(self.teacher + self.teacher_flipped)

    def subset(self, chosen: NDArray[np.int64]) -> FaceSet:
        """The named faces; identities keep their numbers."""
        return replace(
            self,
            rows=self.rows[chosen],
            identity=self.identity[chosen],
            teacher=self.teacher[chosen],
            teacher_flipped=self.teacher_flipped[chosen],
            source=self.source[chosen],
        )

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(m, 112, 112, 3) RGB of the named faces, a copy."""
        return np.asarray(self.pixels[self.rows[indices]])


def prepare(data_dir: Path, cache_dir: Path) -> Path:
    """Decode every training face once into `cache_dir/faces.npy`; a finished file is kept.

    Written beside its final name and renamed, so that a killed run leaves no half file. Of two
    processes the second waits for the first.
    """
    target = cache_dir / PIXELS_FILE
    if not target.exists():
        with locked(target):
            if not target.exists():
                _decode_into(target, data_dir)
    return target


def _decode_into(target: Path, data_dir: Path) -> None:
    photos = [blob for file in _parquet_files(data_dir) for blob in _column(file, "image")]
    partial = target.with_suffix(".partial.npy")
    shape = (len(photos), FACE_PX, FACE_PX, 3)
    pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    with ThreadPoolExecutor(2) as pool:
        decoded = tqdm(pool.map(_decode, photos), "decoding faces", len(photos), unit="face")
        for row, face in enumerate(decoded):
            pixels[row] = face
    pixels.flush()
    partial.rename(target)


def load(
    data_dir: Path, cache_dir: Path, split: str, min_photos: int = 2, max_photos: int = 0
) -> FaceSet:
    """The faces of one split; identities with fewer photos than `min_photos` count as unknown.

    Those with more than `max_photos` are left out altogether; 0: nobody is.
    """
    pixels = np.load(prepare(data_dir, cache_dir), mmap_mode="r")
    table = _labels(data_dir)
    rows = np.flatnonzero(table["split"] == split)
    if max_photos:
        rows = rows[~_photographed_more(table["identity"][rows], max_photos)]
    return FaceSet(
        pixels=pixels,
        rows=rows,
        identity=_number_identities(table["identity"][rows], min_photos),
        teacher=_unit(table["teacher"][rows]),
        teacher_flipped=_unit(table["teacher_flipped"][rows]),
        source=table["source"][rows].astype(np.str_),
    )


def _parquet_files(data_dir: Path) -> list[Path]:
    files = sorted((data_dir / "train").glob("faces-*.parquet"))
    if not files:
        raise FileNotFoundError(f"no train/faces-*.parquet under {data_dir}")
    return files


def _column(file: Path, name: str) -> list[bytes]:
    values: list[bytes] = pq.read_table(file, columns=[name])[name].to_pylist()
    return values


def _decode(blob: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def _labels(data_dir: Path) -> dict[str, NDArray[np.generic]]:
    names = ["identity", "source", "split", "teacher", "teacher_flipped"]
    tables = [pq.read_table(file, columns=names) for file in _parquet_files(data_dir)]
    labels: dict[str, NDArray[np.generic]] = {
        name: np.array([v or "" for t in tables for v in t[name].to_pylist()]) for name in names[:3]
    }
    for name in names[3:]:
        chunks = [chunk for t in tables for chunk in t[name].chunks]
        labels[name] = np.concatenate([c.flatten().to_numpy().reshape(-1, 128) for c in chunks])
    return labels


def _photographed_more(names: NDArray[np.generic], photos: int) -> NDArray[np.bool_]:
    known, number, counts = np.unique(names, return_inverse=True, return_counts=True)
    return np.asarray(((known != "") & (counts > photos))[number])


def _number_identities(names: NDArray[np.generic], min_photos: int) -> NDArray[np.int64]:
    known, number, photos = np.unique(names, return_inverse=True, return_counts=True)
    kept = (known != "") & (photos >= min_photos)
    renumbered = np.where(kept, np.cumsum(kept) - 1, NO_IDENTITY)
    return renumbered[number].astype(np.int64)


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    wide = vectors.astype(np.float32)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))
