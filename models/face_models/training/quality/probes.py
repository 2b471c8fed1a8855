"""Validation faces as photos, as they are and spoilt on purpose, through our own detector.

A training face is an aligned crop. So that angle and size of a face tell nothing about its flaws,
every one is turned and scaled at random and stands on a plain ground, like a face in a photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import align
from face_models.engine import Engine
from face_models.photo import Rgb
from face_models.pipeline import FaceDetector
from face_models.quality import MEASURES, HiddenShare, measures
from face_models.training.data import FaceSet
from face_models.training.quality.occlusion_fit import FACE, covered
from face_models.training.robustness import conditions

AS_IT_IS: Final = "none"
TURN_DEG: Final = 12.0  # standard deviation of a photo's tilt
SCALE: Final = (0.8, 2.0)  # of the 112 px face; flaws may shrink it further
GROUND: Final = 127
BATCH: Final = 32
DIMENSIONS: Final = 128
TWO_FLAWS_CHANCE: Final = 0.25
ROLL: Final = "turned"
SIZE: Final = "few pixels"

Vectors = NDArray[np.float32]
Flaw = Callable[[Rgb, np.random.Generator], Rgb]


@dataclass(frozen=True)
class Probes:
    """n faces that were found; `missed` counts by flaw those that were not."""

    face: NDArray[np.int64]  # (n,) index in the face set
    flaw: NDArray[np.str_]  # (n,) `none`, or names joined by +
    measures: NDArray[np.float64]  # (n, 11), columns as MEASURES
    vectors: Vectors  # (n, 128)
    missed: dict[str, int]

    def take(self, chosen: NDArray[np.bool_]) -> Probes:
        return Probes(
            self.face[chosen], self.flaw[chosen], self.measures[chosen], self.vectors[chosen], {}
        )


def _geometric(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _dark(face: Rgb, random: np.random.Generator) -> Rgb:
    dim = conditions.brighten(face, FACE, _geometric(random, 0.03, 0.8), random)
    return conditions.add_noise(dim, FACE, random.uniform(0, 0.015), random)


def _pale(face: Rgb, random: np.random.Generator) -> Rgb:
    gain = _geometric(random, 0.03, 1)
    veil = random.uniform(0, 255 * (1 - gain))
    return np.asarray(np.rint(face * gain + veil), dtype=np.uint8)


FLAWS: Final[dict[str, Flaw]] = {
    "blur": lambda face, r: conditions.blur(face, FACE, r.uniform(0.005, 0.09), r),
    "dark": _dark,
    "bright": lambda face, r: conditions.brighten(face, FACE, _geometric(r, 1.2, 5), r),
    "pale": _pale,
    "noise": lambda face, r: conditions.add_noise(face, FACE, r.uniform(0.02, 0.3), r),
    "occlusion": lambda face, r: conditions.occlude(face, FACE, r.uniform(0.05, 0.45), r),
    "covered": lambda face, r: covered(face, r)[0],
    "jpeg": lambda face, r: conditions.compress(face, FACE, r.uniform(3, 40), r),
    SIZE: lambda face, _: face,  # both are laid over the photo, below
    ROLL: lambda face, _: face,
}


@dataclass(frozen=True)
class Instruments:
    """What looks at a probe; without an engine there are no embeddings."""

    detector: FaceDetector
    hidden_share: HiddenShare
    engine: Engine | None = None
    model: str = "heatmap"

    def embed(self, crops: list[Rgb]) -> Vectors:
        if self.engine is None or not crops:
            return np.zeros((len(crops), DIMENSIONS), dtype=np.float32)
        return getattr(self.engine.embed(np.stack(crops), (self.model,)), self.model)  # type: ignore[no-any-return]


def make_probes(
    faces: FaceSet, chosen: NDArray[np.int64], look: Instruments, variants: int, seed: int
) -> Probes:
    """Each chosen face as it is, and in `variants` spoilt ways; what is not found is counted."""
    rows: list[tuple[int, str, list[float]]] = []
    missed: dict[str, int] = {}
    vectors: list[Vectors] = []
    crops: list[Rgb] = []
    for index, flaw, photo in _photos(faces, chosen, variants, seed):
        found = look.detector.detect(photo)
        if not found:
            missed[flaw] = missed.get(flaw, 0) + 1
            continue
        crop = align(photo, found[0].landmarks)
        measured = measures(crop, found[0], look.hidden_share)
        rows.append((index, flaw, [measured[name] for name in MEASURES]))
        crops.append(crop)
        if len(crops) == BATCH:
            vectors.append(look.embed(crops))
            crops.clear()
    vectors.append(look.embed(crops))
    return Probes(
        face=np.array([index for index, _, _ in rows], dtype=np.int64),
        flaw=np.array([flaw for _, flaw, _ in rows]),
        measures=np.array([measured for _, _, measured in rows]).reshape(-1, len(MEASURES)),
        vectors=np.concatenate(vectors),
        missed=missed,
    )


def as_photo(
    face: Rgb, random: np.random.Generator, side: int | None = None, turn_deg: float | None = None
) -> Rgb:
    """A face on a plain ground, turned and scaled at random where that is not given."""
    turn = random.normal(0, TURN_DEG) if turn_deg is None else turn_deg
    side = round(face.shape[0] * random.uniform(*SCALE)) if side is None else side
    how = cv2.INTER_AREA if side < face.shape[0] else cv2.INTER_LINEAR
    scaled = cv2.resize(face, (side, side), interpolation=how)
    margin = side // 2
    ground = (GROUND,) * 3
    photo = cv2.copyMakeBorder(
        scaled, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=ground
    )
    middle = (photo.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), turn, 1)
    turned = cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderValue=ground)
    return np.asarray(turned, dtype=np.uint8)


def _photos(
    faces: FaceSet, chosen: NDArray[np.int64], variants: int, seed: int
) -> Iterator[tuple[int, str, Rgb]]:
    for index in tqdm(chosen.tolist(), "quality probes", unit="face"):
        face = faces.images(np.array([index]))[0]
        for variant in range(variants + 1):
            random = np.random.default_rng((seed, index, variant))
            names = _drawn_flaws(random) if variant else []
            spoilt = face
            for name in names:
                spoilt = FLAWS[name](spoilt, random)
            side = round(_geometric(random, 16, 100)) if SIZE in names else None
            turn = random.uniform(-180, 180) if ROLL in names else None
            yield index, "+".join(names) or AS_IT_IS, as_photo(spoilt, random, side, turn)


def _drawn_flaws(random: np.random.Generator) -> list[str]:
    count = 2 if random.random() < TWO_FLAWS_CHANCE else 1
    return [str(name) for name in random.choice(list(FLAWS), count, replace=False)]
