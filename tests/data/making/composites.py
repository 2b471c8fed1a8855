"""Several people's photos become one face: aligned, registered by optical flow, averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from making.contributors import PICTURES, Contributor, grey_of
from making.faces import CROP_PX, Faces, Floats, Rgb, Teacher

ATTEMPTS = 6  # ways to pair the contributors' photos, of which the most self-consistent is kept
MOST_ALIKE = 0.5  # teacher cosine that no composite may reach with any photo of the training set
OWN_SHARE = 0.5  # of each picture, beside what it has in common with the other three
FURTHEST_WARP_PX = 6


@dataclass(frozen=True)
class Composite:
    contributors: tuple[str, ...]
    crops: tuple[Rgb, ...]
    embeddings: Floats  # (PICTURES, 128)

    @property
    def agreement(self) -> float:
        """Teacher cosine of the two pictures that agree least."""
        return float((self.embeddings @ self.embeddings.T).min())

    def closest(self, others: Floats) -> float:
        return float((self.embeddings @ others.T).max())


def compose(
    group: Sequence[Contributor], faces: Faces, teacher: Teacher, rng: np.random.Generator
) -> Composite:
    """The most self-consistent of ATTEMPTS pairings, of those that are nobody if there is one."""

    def attempt() -> Composite:
        order = [rng.permutation(len(person.photos)) for person in group]
        crops = [
            average([person.photos[turn[n]] for person, turn in zip(group, order, strict=True)])
            for n in range(PICTURES)
        ]
        return Composite(
            tuple(person.identity for person in group), tuple(crops), teacher.embed(crops)
        )

    def worth(composite: Composite) -> tuple[bool, float]:
        return composite.closest(faces.teacher) < MOST_ALIKE, composite.agreement

    return max((attempt() for _ in range(ATTEMPTS)), key=worth)


def settle(composite: Composite, teacher: Teacher) -> Composite:
    """Half of every picture is what it was, half the mean of all: a face that stays itself."""
    centre = average(composite.crops)
    shapes = [warp_towards(crop.astype(np.float32), grey_of(centre)) for crop in composite.crops]
    mixed = [OWN_SHARE * shape + (1 - OWN_SHARE) * centre for shape in shapes]
    crops = tuple(np.clip(crop, 0, 255).astype(np.uint8) for crop in mixed)
    return Composite(composite.contributors, crops, teacher.embed(crops))


def average(photos: Sequence[Rgb]) -> Rgb:
    """The mean face: colours matched, shapes registered to the mean, sharpened."""
    warped = even_colours([photo.astype(np.float32) for photo in photos])
    for _ in range(2):
        centre = grey_of(np.mean(warped, axis=0).astype(np.uint8))
        warped = [warp_towards(photo, centre) for photo in warped]
    mean = np.mean(warped, axis=0)
    sharpened = mean + 0.6 * (mean - cv2.GaussianBlur(mean, (0, 0), 1.5))
    return np.clip(sharpened, 0, 255).astype(np.uint8)


def even_colours(photos: Sequence[Floats]) -> list[Floats]:
    """Each photo shifted and stretched, channel by channel, to the group's mean and spread."""
    mean = np.mean([photo.mean(axis=(0, 1)) for photo in photos], axis=0)
    spread = np.mean([photo.std(axis=(0, 1)) for photo in photos], axis=0)
    return [
        np.clip((photo - photo.mean(axis=(0, 1))) / photo.std(axis=(0, 1)) * spread + mean, 0, 255)
        for photo in photos
    ]


def warp_towards(photo: Floats, centre: NDArray[np.uint8]) -> Floats:
    """Smoothly and not far: shapes meet, the parts stay what they are."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    field = flow.calc(centre, grey_of(photo.astype(np.uint8)), None)
    field = np.clip(cv2.GaussianBlur(field, (0, 0), 4), -FURTHEST_WARP_PX, FURTHEST_WARP_PX)
    x, y = np.meshgrid(np.arange(CROP_PX, dtype=np.float32), np.arange(CROP_PX, dtype=np.float32))
    warped = cv2.remap(
        photo,
        x + field[..., 0],
        y + field[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, dtype=np.float32)
