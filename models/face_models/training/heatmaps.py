"""Heatmaps of photos computed once and kept as .npy, as in the paper.

They are the base network's answer to the photo as it is: training on views draws them anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.training.data import FaceSet
from face_models.training.gradcam import ExplainedBase
from face_models.training.lock import locked
from face_models.training.pixels import enlarged
from face_models.training.sight import look

BATCH = 64

Heatmaps = NDArray[np.float16]  # (photos of the data set, px, px) 0..1


def precompute(
    base: ExplainedBase, faces: FaceSet, cache_dir: Path, size_px: int = 224
) -> Heatmaps:
    """The heatmaps of a split, each in its photo's row of the whole set; read from disk as needed.

    A row is NaN until it is computed, so a killed run goes on and another split adds its own.
    """
    name = f"heatmaps-{size_px}-{_fingerprint(base)}.npy"
    maps = _open(cache_dir / name, (len(faces.pixels), size_px, size_px))
    waiting = np.flatnonzero([np.isnan(maps[row, 0, 0]) for row in faces.rows])
    for start in tqdm(range(0, len(waiting), BATCH), "heatmaps", unit="batch"):
        chosen = waiting[start : start + BATCH]
        sight = look(base, enlarged(faces.images(chosen), size_px))
        maps[faces.rows[chosen]] = sight.heat[:, 0].numpy()
    maps.flush()
    return maps


def _fingerprint(base: ExplainedBase) -> str:
    """Of the weights: another base network draws other maps."""
    digest = hashlib.sha256()
    for weight in base.state_dict().values():
        digest.update(weight.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _open(
    file: Path, shape: tuple[int, int, int]
) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    with locked(file):
        if not file.exists():
            partial = file.with_suffix(".partial.npy")
            fresh = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            for row in range(shape[0]):
                fresh[row, 0, 0] = np.nan  # the rest of the file stays a hole until it is written
            fresh.flush()
            partial.rename(file)
    return np.lib.format.open_memmap(file, mode="r+")
