"""What can be told of a face beside its quality, where it is asked for: costs what it takes.

    region.onnx   rgb (n, 3, 112, 112) 0..255 -> hidden (n, 112, 112): chance of being covered
    age.onnx      rgb (n, 3, 112, 112) 0..255 -> years (n, 117): chances of the years 0..116

Nothing of it has a part in recognition. A weights folder may lack both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.align import TEMPLATE_PX, Affine, Landmarks, similarity, template
from face_models.engine import open_session, run_session
from face_models.errors import WeightsError
from face_models.photo import Rgb
from face_models.spec import WeightsSpec

HIDDEN_FROM: Final = 0.5
SMALLEST_SHARE: Final = 0.05
"""Of the crop: what is smaller is not reported; reports/restored.md has the alarms that leaves."""

Ask = Callable[[Rgb], NDArray[np.float32]]  # one crop (112, 112, 3) -> the graph's row


@dataclass(frozen=True, slots=True)
class OccludedRegion:
    """Where something hides a face; `box` x, y, width, height in the photo that was aligned."""

    share: float  # of the aligned crop, 0..1
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Told:
    """None where it was not asked; no region either where nothing hides the face."""

    occluded_region: OccludedRegion | None = None
    age_years: float | None = None


@dataclass(frozen=True)
class Extras:
    """`region`, `age`: graphs that are asked, each only if it is there."""

    region: Ask | None = None
    age: Ask | None = None

    @classmethod
    def load(cls, names: tuple[str, ...], specs: WeightsSpec, folder: Path, threads: int) -> Self:
        """Open the named graphs.

        Raises:
            WeightsError: the weights folder has no such graph, or it cannot be used.
        """
        for name in names:
            if name not in specs.extras:
                raise WeightsError(f"{folder} has no {name} graph; it has {sorted(specs.extras)}.")
        return cls(**{name: _asked(specs.extras[name].path_in(folder), threads) for name in names})

    def tell(self, crop: Rgb, landmarks: Landmarks) -> Told:
        """Of an aligned crop, and where its landmarks stand in the photo.

        Raises:
            EmbeddingFailed: a graph has no usable answer.
        """
        if self.region is None and self.age is None:
            return Told()
        small = cv2.resize(crop, (TEMPLATE_PX, TEMPLATE_PX), interpolation=cv2.INTER_AREA)
        face = np.asarray(small, dtype=np.uint8)
        return Told(
            occluded_region(self.region(face) >= HIDDEN_FROM, landmarks) if self.region else None,
            _expected(self.age(face)) if self.age else None,
        )


def occluded_region(hidden: NDArray[np.bool_], landmarks: Landmarks) -> OccludedRegion | None:
    """From a crop's hidden pixels (112, 112), if there are enough to speak of."""
    share = float(hidden.mean())
    if share < SMALLEST_SHARE:
        return None
    rows, columns = np.nonzero(hidden)
    to_crop = similarity(landmarks, template(TEMPLATE_PX))
    x, y = _back(np.stack([columns, rows]).astype(np.float64), to_crop)
    left, top = float(x.min()), float(y.min())
    return OccludedRegion(share, (left, top, float(x.max()) - left, float(y.max()) - top))


def _expected(chances: NDArray[np.float32]) -> float:
    return float(chances @ np.arange(chances.size))


def _back(points: NDArray[np.float64], matrix: Affine) -> NDArray[np.float64]:
    """(2, n) from the crop into the photo."""
    return np.asarray(np.linalg.solve(matrix[:, :2], points - matrix[:, 2:]))


def _asked(file: Path, threads: int) -> Ask:
    session = open_session(file, threads)
    output = session.get_outputs()[0].name

    def ask(face: Rgb) -> NDArray[np.float32]:
        rgb = np.ascontiguousarray(face.transpose(2, 0, 1)[None], dtype=np.float32)
        (answer,) = run_session(session, (output,), {"rgb": rgb})
        return np.asarray(answer[0])

    return ask
