"""A photo small enough for a list: its face, or the whole of it where no face was found."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

from face_models.photo import read_photo
from inference_server.face_pipeline import FacePipeline

SIDE_PX: Final = 224
QUALITY: Final = 80  # of the WebP: 4 to 8 kB a face


def draw_thumbnail(pipeline: FacePipeline, photo: bytes, index: int | None) -> bytes:
    """A WebP of at most SIDE_PX squared: the face of that index, None for the best, upright.

    Nothing is demanded of the face: whoever looks through photos wants to see the poor ones, too.

    Raises:
        PhotoError: the photo cannot be read.
    """
    analysis = pipeline.analyse(photo)
    wanted = analysis.best if index is None else index
    if wanted is not None and wanted < len(analysis.faces):
        picture = Image.fromarray(analysis.faces[wanted].crop)
    else:
        picture = Image.fromarray(read_photo(photo, pipeline.settings.limits).rgb)
        picture.thumbnail((SIDE_PX, SIDE_PX))
    file = BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return file.getvalue()
