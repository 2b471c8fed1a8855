"""What is looked at: the detector's views and looks, and the heatmap network's second look."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from choice import SEED, Choice, timed
from embed import GRAIN, demo_photo
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from face_models import detect
from face_models.detect import GREY, Detection, Detector, View, view_of, whole_cells
from face_models.engine import Engine, open_session
from face_models.photo import Rgb
from face_models.spec import WEIGHTS_DIR
from face_models.training import data
from face_models.training.detector import measure, scenes
from face_models.training.detector.evaluate import false_alarms
from face_models.training.detector.photos import Labels, read_photos
from face_models.training.evaluation.evaluate import enlarged
from face_models.training.measure import judge

VIEWED_PX = (2000, 1500)  # a photo as it is decoded
HALVED, AVERAGED = "halved step by step (kept)", "averaged over areas"
SITTERS_STEP = 2  # every second labelled face
COARSE_KEPT = "192 px within 32 (kept)"
COARSE_NONE = "no coarse look"
COARSE_LOOKS: Mapping[str, Mapping[str, float]] = {  # shares of the detector's input side, 320 px
    COARSE_KEPT: {},
    "192 px within 32, no score of its own": {"COARSE_SCORE": 0.0},
    "192 px, no margin": {"COARSE_MARGIN_SHARE": 0.0},
    "128 px within 32": {"COARSE_SHARE": 0.4},
    "160 px within 32": {"COARSE_SHARE": 0.5},
    "256 px within 32": {"COARSE_SHARE": 0.8},
    COARSE_NONE: {},
}
FACE_SHARES = (0.03, 0.07, 0.15, 0.35)  # of the scene's height

Floats = NDArray[np.float32]


def views(found: Mapping[str, str]) -> Choice:
    rgb = np.asarray(Image.open(io.BytesIO(demo_photo(VIEWED_PX, GRAIN))))
    return timed(
        "The detector's views, 640 and 320 px, of a photo of 2000 x 1500 px",
        {
            HALVED: lambda: [view_of(rgb, side) for side in (640, 320)],
            AVERAGED: lambda: [averaged_view(rgb, side) for side in (640, 320)],
        },
        "Halved: as good at a fraction of the time.",
        found,
    )


def averaged_view(rgb: Rgb, side_px: int, margin_px: int = 0) -> View:
    """As `view_of` made them before: every pixel of the view is the mean of its area."""
    scale = side_px / max(rgb.shape[:2])
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photo = cv2.resize(rgb, size, interpolation=interpolation)
    columns, rows = (whole_cells(length + 2 * margin_px) for length in size)
    canvas = np.full((rows, columns, 3), GREY, np.uint8)
    canvas[margin_px : margin_px + size[1], margin_px : margin_px + size[0]] = photo
    return View(canvas, scale, margin_px)


def found_by_views(data_dir: Path) -> dict[str, str]:
    """Of faces in large scenes composed of held-out photos, with grain: by the kind of view."""
    detector = Detector(WEIGHTS_DIR / "detector.onnx")
    sitters = scenes.sitters_of(read_photos(data_dir, "val"))[::SITTERS_STEP]
    labels: list[Labels] = []
    found: dict[str, list[list[Detection]]] = {HALVED: [], AVERAGED: []}
    for rgb, faces in tqdm(large_scenes(sitters), "scenes", len(sitters) * len(FACE_SHARES)):
        labels.append(faces)
        for name, view in ((HALVED, view_of), (AVERAGED, averaged_view)):
            with patch.object(detect, "view_of", view):
                found[name].append(detector.detect(rgb))
    return {
        name: _told(measure.match_all(labels, answers), labels) for name, answers in found.items()
    }


def coarse_looks(found: Mapping[str, str]) -> Choice:
    detector = Detector(WEIGHTS_DIR / "detector.onnx")
    size = (scenes.PORTRAIT_PX, scenes.PORTRAIT_PX)
    portrait = np.asarray(Image.open(io.BytesIO(demo_photo(size))))

    def detect_by(name: str) -> object:
        with looking(name):
            return detector.detect(portrait)

    return timed(
        f"A face found in a photo of {size[0]} x {size[1]} px, by the first, coarse look",
        {name: partial(detect_by, name) for name in COARSE_LOOKS},
        "192 px is kept for want of a second test: it was chosen before this table, on other "
        f"portraits. From afar alone a score of {detect.COARSE_SCORE:g} is asked for: without that "
        "limit smears of a few pixels pass for faces (tests/contract).",
        found,
    )


@contextmanager
def looking(name: str) -> Iterator[None]:
    """The detector as one of `COARSE_LOOKS` would have it."""
    with ExitStack() as changed:
        for constant, value in COARSE_LOOKS[name].items():
            changed.enter_context(patch.object(detect, constant, value))
        if name == COARSE_NONE:
            changed.enter_context(patch.object(Detector, "_from_afar", lambda *_: []))
        yield


def found_from_afar(data_dir: Path) -> dict[str, str]:
    """Of the faces of held-out photos and of portraits composed of them, by the coarse look."""
    detector = Detector(WEIGHTS_DIR / "detector.onnx")
    photos = read_photos(data_dir, "val")
    held_out = [(photo.rgb, photo) for photo in photos]
    sitters = scenes.sitters_of(photos)[::SITTERS_STEP]
    portraits = [
        scene
        for share in scenes.PORTRAIT_SHARES
        for scene in scenes.portraits_of(sitters, share, np.random.default_rng(SEED))
    ]
    told = {}
    for name in tqdm(COARSE_LOOKS, "coarse looks"):
        with looking(name):
            drawn = sum(row.alarms for row in false_alarms(detector))
            kinds = {
                kind: _told(measure.match_all(labels, answers), labels)
                for kind, pictures in (("portraits", portraits), ("photos", held_out))
                for labels in [[labels for _, labels in pictures]]
                for answers in [[detector.detect(rgb) for rgb, _ in pictures]]
            }
        told[name] = "; ".join(f"{kind}: {text}" for kind, text in kinds.items())
        told[name] += f"; {drawn} in drawn pictures without a person"
    return told


def large_scenes(sitters: Sequence[scenes.Sitter]) -> Iterator[scenes.Scene]:
    random = np.random.default_rng(SEED)
    for share in FACE_SHARES:
        for sitter in sitters:
            rgb, faces = scenes.scene(sitter, VIEWED_PX, share * VIEWED_PX[1], 0.0, random)
            noisy = rgb + random.normal(0, GRAIN / 2, rgb.shape)
            yield noisy.clip(0, 255).astype(np.uint8), faces


def _told(matches: measure.Matches, labels: Sequence[Labels]) -> str:
    faces = sum(len(one.boxes) for one in labels)
    alarms = int((~matches.hits).sum())
    return f"{matches.hits.sum()} of {faces} faces, {alarms} false alarms in {len(labels)} pictures"


def second_looks(accuracy: Mapping[str, str]) -> Choice:
    crop = np.random.default_rng(SEED).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    return timed(
        "What the heatmap network looks at, beside the base network's look at the face",
        {name: partial(look, crop) for name, look in _second_looks(Engine()).items()},
        "The mirror image, at no cost. These networks learnt for it, each alone from faces of "
        "either side; none learnt as long for the same picture.",
        accuracy,
    )


def _second_looks(engine: Engine) -> dict[str, Callable[[NDArray[np.uint8]], Floats]]:
    heatmap = open_session(WEIGHTS_DIR / "heatmap.onnx", 1)

    def same(crops: NDArray[np.uint8]) -> Floats:
        """The graph mirrors what it is given: it is given the mirror image."""
        seen = engine.embed(crops, ("base",))
        rgb = crops[:, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        maps = np.ascontiguousarray(seen.maps[:, None, :, ::-1])
        given = {"rgb": np.ascontiguousarray(rgb), "heatmap": maps, "base": seen.base}
        return np.asarray(heatmap.run(["embedding"], given)[0])

    return {
        "the mirror image (kept)": lambda crops: engine.embed(crops).heatmap,
        "the same picture": same,
        "both networks at both (FLIP=1)": lambda crops: engine.embed(crops, flip=True).heatmap,
        "none: the base network alone": lambda crops: engine.embed(crops, ("base",)).base,
    }


def found_by_second_looks(data_dir: Path, cache_dir: Path) -> dict[str, str]:
    faces = data.load(data_dir, cache_dir, "val")
    looks = _second_looks(Engine())
    rows: dict[str, list[Floats]] = {name: [] for name in looks}
    for crops in enlarged(faces, "validation faces"):
        for name, look in looks.items():
            rows[name].append(look(crops))
    return {name: str(judge(np.concatenate(made), faces)) for name, made in rows.items()}
