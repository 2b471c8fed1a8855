"""A tiny data set and run folder, generated: nothing here needs a download or a real face."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

PEOPLE, PHOTOS_EACH = 6, 4

TINY_CONFIG = """
name = "base"
backbone = "shufflenet_v2_x1_0"
seed = 3

[[stages]]
input_px = 32
photos = 48
batch = 8
peak_learning_rate = 1e-3
views_share = 0.0
"""


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four Parquet files in the training set's layout: 6 people in train, 6 others in val."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").mkdir()
    random = np.random.default_rng(11)
    rows = [
        _row(random, f"{split}/{person}", split)
        for split in ("train", "val")
        for person in range(PEOPLE)
        for _ in range(PHOTOS_EACH)
    ]
    rows[0]["identity"] = None
    for number in range(4):
        table = pa.Table.from_pylist(rows[number::4], schema=_schema())
        pq.write_table(table, folder / "train" / f"faces-{number}.parquet")
    return folder


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_CONFIG)
    return path


def _schema() -> pa.Schema:
    vector = pa.list_(pa.float16(), 128)
    texts = [(name, pa.string()) for name in ("identity", "source", "split")]
    vectors = [("teacher", vector), ("teacher_flipped", vector)]
    ages = [("age_years", pa.int16())]
    return pa.schema([("image", pa.binary()), *texts, *vectors, *ages])


def _row(random: np.random.Generator, identity: str, split: str) -> dict[str, object]:
    return {
        "image": _picture(random),
        "identity": identity,
        "source": "made",
        "split": split,
        "teacher": random.normal(size=128).astype(np.float16),
        "teacher_flipped": random.normal(size=128).astype(np.float16),
        "age_years": 20 + 10 * int(identity[-1]) if split == "train" else None,
    }


def _picture(random: np.random.Generator) -> bytes:
    coarse = random.integers(0, 255, (7, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((112, 112)).save(file, "WEBP", quality=80)
    return file.getvalue()
