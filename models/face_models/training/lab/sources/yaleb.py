"""Extended Yale B: 38 people under 64 directions of light, cropped to the face by its makers.

Of each 168 x 192 picture the middle square is kept. The angle between light and camera grades the
light: subsets 1 and 2 are bright, 3 medium, 4 and 5 dark (Georghiades et al. 2001).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab.photos import Shot
from face_models.training.lab.sources.crop import square_crop

FILE = Path("yaleb") / "yaleb.parquet"
COLUMNS = ["image", "person", "azimuth_deg", "elevation_deg", "light"]


def read_table(data_dir: Path) -> pa.Table:
    """Raises UnusableInput where the file is not there."""
    if not (data_dir / FILE).is_file():
        raise UnusableInput(f"{data_dir / FILE} is not there.")
    return pq.read_table(data_dir / FILE, columns=COLUMNS)


def shots(table: pa.Table, size_px: int) -> Iterator[Shot]:
    for number, row in enumerate(table.to_pylist()):
        photo = np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB"))
        height, width = photo.shape[:2]
        side = float(min(height, width))
        middle = ((width - side) / 2, (height - side) / 2, side, side)
        name = f"{row['person']} A{row['azimuth_deg']:+04}E{row['elevation_deg']:+03} {number}"
        yield Shot(square_crop(photo, middle, size_px, 0), row["person"], row["light"], name)
