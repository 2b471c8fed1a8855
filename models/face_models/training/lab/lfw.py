"""Labeled Faces in the Wild: 6,000 pairs, photo and mirror image together. For reporting only."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from face_models.align import align
from face_models.photo import Rgb, read_photo
from face_models.training.checkpoint import Trained
from face_models.training.evaluation.protocol import Pair, read_landmarks, read_pairs
from face_models.training.lab.photos import Frame
from face_models.training.lab.sight import BATCH, Sight
from face_models.training.lab.sources.crop import square_crop
from face_models.training.pixels import enlarged
from face_models.training.robustness.conditions import Box

CROPS_FILE, NAMES_FILE, SCORES_FILE = "crops.npy", "names.json", "scores.npy"


def pairs_of(folder: Path) -> list[Pair]:
    return read_pairs(folder / "pairs.csv")


def keep_crops(folder: Path, frame: Frame, size_px: int, into: Path) -> None:
    """Every photo of the pairs, cut as the networks' training photos were."""
    names = sorted({name for pair in pairs_of(folder) for name in (pair.a, pair.b)})
    shape = (len(names), size_px, size_px, 3)
    crops = np.lib.format.open_memmap(into / CROPS_FILE, mode="w+", dtype=np.uint8, shape=shape)
    cut = _crops(folder, frame, names, size_px)
    for row, crop in enumerate(tqdm(cut, "LFW crops", len(names), unit="photo", leave=False)):
        crops[row] = crop
    crops.flush()
    (into / NAMES_FILE).write_text(json.dumps(names), encoding="utf-8")


def _crops(folder: Path, frame: Frame, names: Sequence[str], size_px: int) -> Iterator[Rgb]:
    landmarks, boxes = read_landmarks(folder / "faces.csv"), _boxes(folder / "faces.csv")
    for name in names:
        photo = read_photo((folder / "photos" / name).read_bytes())
        if frame == "aligned":
            yield align(photo.rgb, landmarks[name] * np.float32(photo.scale), size_px)
            continue
        x, y, width, height = (side * photo.scale for side in boxes[name])
        yield square_crop(photo.rgb, (x, y, width, height), size_px)


def _boxes(file: Path) -> dict[str, Box]:
    with file.open(newline="", encoding="utf-8") as stream:
        return {
            row["photo"]: (float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"]))
            for row in csv.DictReader(stream)
        }


def keep_scores(
    trained: Trained, sight: Sight, crops_dir: Path, pairs: Sequence[Pair], into: Path
) -> None:
    """The cosine of every pair, in the list's order."""
    crops = np.load(crops_dir / CROPS_FILE, mmap_mode="r")
    names = json.loads((crops_dir / NAMES_FILE).read_text(encoding="utf-8"))
    row_of = {name: row for row, name in enumerate(names)}
    vectors = _described(trained, sight, crops)
    a, b = (np.array([row_of[getattr(pair, side)] for pair in pairs]) for side in "ab")
    np.save(into / SCORES_FILE, (vectors[a] * vectors[b]).sum(axis=1).astype(np.float64))


@torch.no_grad()
def _described(trained: Trained, sight: Sight, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 128) unit vectors: embedding and the mirror image's embedding added."""
    parts = []
    for at in tqdm(range(0, len(crops), BATCH), "LFW", unit="batch", leave=False):
        pixels = np.array(crops[at : at + BATCH])
        rgb = enlarged(pixels, pixels.shape[1])
        both = _unit(trained, sight, rgb) + _unit(trained, sight, rgb.flip(3))
        parts.append(F.normalize(both))
    return torch.cat(parts).numpy()


def _unit(trained: Trained, sight: Sight, rgb: Tensor) -> Tensor:
    return F.normalize(trained.network(rgb, sight(rgb)))
