"""Where the base network looks: the Grad-CAM++ map of a face, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from face_models.heatmap_overlay import overlay
from face_models.pipeline import Face
from inference_server.face_pipeline import FacePipeline

HeatMap = NDArray[np.float32]  # (224, 224) in 0..1


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    face: Face
    map: HeatMap

    def overlay_png(self) -> bytes:
        """The aligned face under the map's colours."""
        return _encode(Image.fromarray(overlay(self.face.crop, self.map)), "PNG")

    def map_npy(self) -> bytes:
        """The map alone, in NumPy's own format."""
        file = BytesIO()
        np.save(file, self.map.astype("<f4"))
        return file.getvalue()

    def map_bytes(self) -> bytes:
        """224 x 224 little-endian float32, row by row."""
        return self.map.astype("<f4").tobytes()


def draw_heatmap(pipeline: FacePipeline, photo: bytes, face: int | None) -> Heatmap:
    """The map that the heatmap network is given as its fourth channel; the base network makes it.

    Raises:
        PhotoError, EmbeddingFailed
    """
    chosen = pipeline.choose(pipeline.analyse(photo), face)
    return Heatmap(chosen, pipeline.embed([chosen], ("base",)).maps[0])


def _encode(image: Image.Image, kind: str) -> bytes:
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()
