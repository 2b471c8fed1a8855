"""A composite as a picture that a phone could have taken: head and shoulders before a wall."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from making.composites import MOST_ALIKE, Composite
from making.faces import CROP_PX, Faces, Floats, Rgb, Teacher

MOST_ALIKE_EACH_OTHER = 0.45  # teacher cosine between pictures of two demo people
CANVAS_PX = 224
WEBP_QUALITY = 80
# Where the aligned crops have their eyes, nose and mouth corners (ArcFace template, 112 x 112).
TEMPLATE_112 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class DemoPerson:
    contributors: tuple[str, ...]
    pictures: tuple[bytes, ...]  # WebP
    landmarks: tuple[Floats, ...]  # (5, 2) px, one for each picture
    embeddings: Floats  # (PICTURES, 128): the teacher's, of the pictures as encoded

    @property
    def agreement(self) -> float:
        """Teacher cosine of the two pictures that agree least."""
        return float((self.embeddings @ self.embeddings.T).min())

    def closest(self, others: Floats) -> float:
        return float((self.embeddings @ others.T).max())


def portray(composite: Composite, teacher: Teacher, rng: np.random.Generator) -> DemoPerson:
    scenes = [set_into_canvas(crop, rng) for crop in composite.crops]
    pictures = tuple(encode(picture) for picture, _ in scenes)
    landmarks = tuple(landmarks for _, landmarks in scenes)
    seen = [crop_back(*scene) for scene in zip(pictures, landmarks, strict=True)]
    return DemoPerson(composite.contributors, pictures, landmarks, teacher.embed(seen))


def select(people: Sequence[DemoPerson], faces: Faces, count: int) -> list[DemoPerson]:
    """The most self-consistent ones that are nobody and not each other."""
    nobody = [one for one in people if one.closest(faces.teacher) < MOST_ALIKE]
    chosen: list[DemoPerson] = []
    for one in sorted(nobody, key=lambda person: -person.agreement):
        if all(one.closest(other.embeddings) < MOST_ALIKE_EACH_OTHER for other in chosen):
            chosen.append(one)
    if len(chosen) < count:
        raise SystemExit(f"only {len(chosen)} of {count} demo people can be made from this set")
    return chosen[:count]


def encode(picture: Rgb) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "WEBP", quality=WEBP_QUALITY, method=6)
    return encoded.getvalue()


def crop_back(picture: bytes, landmarks: Floats) -> Rgb:
    matrix = cv2.estimateAffinePartial2D(landmarks, TEMPLATE_112, method=cv2.LMEDS)[0]
    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.asarray(cv2.warpAffine(pixels, matrix, (CROP_PX, CROP_PX)), dtype=np.uint8)


def set_into_canvas(crop: Rgb, rng: np.random.Generator) -> tuple[Rgb, Floats]:
    """A picture of CANVAS_PX squared, and where its (5, 2) landmarks are."""
    wide = cv2.copyMakeBorder(crop, *[CROP_PX - 1] * 4, cv2.BORDER_REFLECT_101).astype(np.float32)
    soft = cv2.GaussianBlur(wide, (0, 0), 16)
    size = wide.shape[0]
    backdrop = np.zeros_like(wide) + crop[:40, [0, 1, -2, -1]].reshape(-1, 3).mean(axis=0)
    scene = blend(backdrop, soft, oval(size, (size / 2, size / 2 + 26), (54, 76), 8))
    clothes = np.zeros_like(wide) + rng.uniform(40, 120) + rng.uniform(0, 40, 3)
    scene = blend(scene, clothes, oval(size, (size / 2, size / 2 + 148), (112, 84), 3))
    scene = blend(scene, wide, oval(size, (size / 2, size / 2 - 2), (52, 57), 4))
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), rng.uniform(-8, 8), rng.uniform(1.0, 1.25)
    )
    matrix[:, 2] += CANVAS_PX / 2 - size / 2 + rng.uniform(-8, 8, 2)
    picture = cv2.warpAffine(
        scene * rng.uniform(0.88, 1.12), matrix, (CANVAS_PX, CANVAS_PX), flags=cv2.INTER_CUBIC
    )
    matrix[:, 2] += matrix[:, :2] @ [CROP_PX - 1, CROP_PX - 1]
    landmarks = (TEMPLATE_112 @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8), landmarks


def oval(
    size: int, centre: tuple[float, float], radii: tuple[float, float], softness_px: float
) -> Floats:
    """(size, size, 1): 1 inside, 0 outside, with a soft edge."""
    y, x = np.mgrid[:size, :size]
    inside = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1
    return np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), softness_px))[..., None]


def blend(below: Floats, above: Floats, weight: Floats) -> Floats:
    return np.asarray(below * (1 - weight) + above * weight, dtype=np.float32)
