"""Measures an exported detector on labelled photos and on scenes composed of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from face_models.detect import INPUT_SIDE_PX, Detection, Detector, view_of
from face_models.training.detector.agreement import agreement
from face_models.training.detector.cartoons import bricks, clouds, pet, smiley, weave
from face_models.training.detector.faceless import doodle, gradient, snow
from face_models.training.detector.measure import (
    Band,
    DetectorReport,
    FalseAlarms,
    SceneReport,
    band,
    errors_by_face,
    report,
)
from face_models.training.detector.photos import (
    LabelledPhoto,
    Labels,
    Rgb,
    read_lfw,
    read_photos,
)
from face_models.training.detector.scenes import (
    CROWDS,
    FACE_HEIGHTS_PX,
    PORTRAIT_SHARES,
    ROLLS_DEG,
    Scene,
    Sitter,
    crowds_of,
    portraits_of,
    scenes_of_roll,
    scenes_of_size,
    sitters_of,
)

ANY_SCORE = 0.02
SCENE_SEED = 8
MOST_SITTERS = 200  # of a kind of scene: recall is known to about 1 %
FACELESS_PICTURES = 60  # of a kind
FACELESS_FRAME = (480, 360)
SCORE_BANDS = (0.6, 0.7, 0.8, 0.9, 1.0)  # the labeller's, which keeps nothing below 0.6

FACELESS: Final[dict[str, Callable[[int, int, np.random.Generator], Rgb]]] = {
    "gradients": gradient,
    "noise": snow,
    "clouds": clouds,
    "weaves": weave,
    "bricks": bricks,
    "doodles": doodle,
    "pets": pet,
    "cartoon faces": smiley,
}


def evaluate(
    weights: Path, data_dir: Path, split: str, second_landmarks: Path | None = None
) -> SceneReport:
    """`split`: train, val or lfw; scenes are composed of the first two alone.

    LFW's reference names one face a photo, so there every other person found is a "false alarm":
    read only its recall and landmark error. It is for reporting, never for choosing.
    """
    detector, curious = Detector(weights), Detector(weights, score_threshold=ANY_SCORE)
    if split == "lfw":
        return SceneReport(**asdict(on_photos(detector, curious, read_lfw(data_dir))[0]))
    photos = read_photos(data_dir, split)
    figures, served = on_photos(detector, curious, ((photo.rgb, photo) for photo in photos))
    sitters = some(sitters_of(photos), MOST_SITTERS)
    return SceneReport(
        **asdict(figures),
        by_score=tuple(by_score(photos, served)),
        by_size=tuple(by_size(detector, sitters)),
        by_share=tuple(by_share(detector, sitters)),
        by_roll=tuple(by_roll(detector, sitters)),
        by_crowd=tuple(by_crowd(detector, sitters)),
        false_alarms=tuple(false_alarms(detector)),
        readers=agreement(weights, second_landmarks, photos) if second_landmarks else None,
    )


def on_photos(
    detector: Detector, curious: Detector, photos: Iterable[tuple[Rgb, Labels]]
) -> tuple[DetectorReport, list[list[Detection]]]:
    """The report, and what was served."""
    labels, seen, served = [], [], []
    for rgb, faces in photos:
        labels.append(faces)
        seen.append(curious.look(view_of(rgb, INPUT_SIDE_PX)))
        served.append(detector.detect(rgb))
    return report(labels, seen, served), served


def some(sitters: Sequence[Sitter], count: int) -> list[Sitter]:
    """In random order, but the same whenever asked."""
    order = np.random.default_rng(SCENE_SEED).permutation(len(sitters))
    return [sitters[i] for i in order[:count]]


def by_score(
    photos: Sequence[LabelledPhoto], served: Sequence[Sequence[Detection]]
) -> Iterator[Band]:
    errors = [errors_by_face(photo, found) for photo, found in zip(photos, served, strict=True)]
    all_errors, scores = np.concatenate(errors), np.concatenate([p.scores for p in photos])
    for low, high in pairwise(SCORE_BANDS):
        chosen = (scores >= low) & (scores < high)
        yield band(f"label's score {low:g} to {high:g}", all_errors[chosen])


def by_size(detector: Detector, sitters: Sequence[Sitter]) -> Iterator[Band]:
    for height in FACE_HEIGHTS_PX:
        yield on_scenes(f"{height} px high", detector, scenes_of_size(sitters, height, seeded()))


def by_share(detector: Detector, sitters: Sequence[Sitter]) -> Iterator[Band]:
    for share in PORTRAIT_SHARES:
        portraits = portraits_of(sitters, share, seeded())
        yield on_scenes(f"{share:.0%} of a portrait", detector, portraits)


def by_roll(detector: Detector, sitters: Sequence[Sitter]) -> Iterator[Band]:
    for roll in ROLLS_DEG:
        yield on_scenes(f"turned by {roll}°", detector, scenes_of_roll(sitters, roll, seeded()))


def by_crowd(detector: Detector, sitters: Sequence[Sitter]) -> Iterator[Band]:
    for count in CROWDS:
        yield on_scenes(f"{count} photos", detector, crowds_of(sitters, count, seeded()))


def on_scenes(kind: str, detector: Detector, scenes: Iterable[Scene]) -> Band:
    errors = [errors_by_face(labels, detector.detect(rgb)) for rgb, labels in scenes]
    return band(kind, np.concatenate([*errors, np.zeros(0, np.float32)]))


def false_alarms(detector: Detector) -> Iterator[FalseAlarms]:
    for kind, draw in FACELESS.items():
        random = seeded()
        pictures = (draw(*FACELESS_FRAME, random) for _ in range(FACELESS_PICTURES))
        alarms = [len(detector.detect(rgb)) for rgb in pictures]
        with_any = sum(count > 0 for count in alarms)
        yield FalseAlarms(kind, FACELESS_PICTURES, sum(alarms), with_any)


def seeded() -> np.random.Generator:
    return np.random.default_rng(SCENE_SEED)
