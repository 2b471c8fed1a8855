"""Function matching: seeded views of the training faces with the teacher's answer to each.

Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent"
(arXiv:2106.05237): the student sees exactly the view that the teacher saw, mixed faces included,
over many passes. The teacher costs more than the student, so every view is made once from its seed
and kept beside the teacher's answer to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.training.augment import AugmentSettings, Faces, augment
from face_models.training.data import FACE_PX, FaceSet
from face_models.training.lock import locked

TEACHER_FILE = Path("teacher") / "mobilefacenet.onnx"
DIMENSIONS = 128

GENTLE = AugmentSettings(
    scale=0.08, turn_deg=6.0, shift=0.04, brightness=0.2, contrast=0.25, gamma=0.25,
    blur_chance=0.1, shrink_chance=0.15, shrink_min_px=40, noise_chance=0.0, occlusion_chance=0.0,
)  # fmt: skip
"""What leaves a face recognisable to the teacher: damage belongs to the student's side alone."""


@dataclass(frozen=True)
class ViewSettings:
    """`batches` x `batch` views; in a mixed one the first face keeps `main_share` or more."""

    seed: int = 11
    batches: int = 1500
    batch: int = 64
    mix_chance: float = 0.6
    main_share: float = 0.45


@dataclass(frozen=True)
class Views:
    """Views by batch and row, and what the teacher says to each."""

    pixels: NDArray[np.uint8]  # (batches, batch, 112, 112, 3), RGB
    teacher: NDArray[np.float16]  # (batches, batch, 128), L2-normalised

    def __len__(self) -> int:
        batches, batch = self.teacher.shape[:2]
        return int(batches * batch)

    def take(self, places: NDArray[np.int64]) -> tuple[Faces, NDArray[np.float32]]:
        """Pixels (m, 112, 112, 3) and answers (m, 128) of views numbered through all batches."""
        batch, row = np.divmod(places, self.teacher.shape[1])
        return np.asarray(self.pixels[batch, row]), self.teacher[batch, row].astype(np.float32)


def make_views(faces: FaceSet, settings: ViewSettings, number: int) -> Faces:
    """View batch `number`, (batch, 112, 112, 3); the same at every call."""
    random = np.random.default_rng((settings.seed, number))
    chosen = random.integers(len(faces), size=(2, settings.batch))
    share = random.uniform(settings.main_share, 1, settings.batch)
    share[random.random(settings.batch) >= settings.mix_chance] = 1
    mixed = [
        cv2.addWeighted(one, weight, other, 1 - weight, 0)
        for one, other, weight in zip(*map(faces.images, chosen), share, strict=True)
    ]
    views, _ = augment(np.stack(mixed).astype(np.uint8), GENTLE, random)
    return views


def answer_views(
    faces: FaceSet, settings: ViewSettings, data_dir: Path, cache_dir: Path, threads: int = 1
) -> Views:
    """Make the views and ask the teacher; a batch that is answered already is kept.

    An answer is NaN until its batch is done, so a killed run goes on where it stood. Of processes
    that share a cache one asks, the others wait for it.
    """
    views = _open(settings, cache_dir)
    if _unanswered(views):
        teacher = _teacher(data_dir / TEACHER_FILE, threads)
        with locked(cache_dir / f"{_name(settings)}-answers"):
            for number in tqdm(_unanswered(views), "the teacher's answers", unit="batch"):
                pixels = make_views(faces, settings, number)
                rgb = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
                views.pixels[number] = pixels
                views.teacher[number] = teacher.run(["embedding"], {"rgb": rgb})[0]
    return views


def _unanswered(views: Views) -> list[int]:
    return np.flatnonzero(np.isnan(views.teacher[:, 0, 0])).tolist()


def _teacher(file: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _name(settings: ViewSettings) -> str:
    return f"views-{settings.seed}-{settings.batches}x{settings.batch}"


def _open(settings: ViewSettings, cache_dir: Path) -> Views:
    places, name = (settings.batches, settings.batch), _name(settings)
    pixels, teacher = cache_dir / f"{name}.npy", cache_dir / f"{name}-teacher.npy"
    with locked(teacher):
        if not teacher.exists():
            np.lib.format.open_memmap(
                pixels, mode="w+", dtype=np.uint8, shape=(*places, FACE_PX, FACE_PX, 3)
            )
            fresh = teacher.with_suffix(".partial.npy")
            np.save(fresh, np.full((*places, DIMENSIONS), np.nan, np.float16))
            fresh.rename(teacher)
    return Views(np.load(pixels, mmap_mode="r+"), np.load(teacher, mmap_mode="r+"))
