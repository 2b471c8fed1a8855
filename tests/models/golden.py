"""What the shipped networks answer to the demo people; written by `python -m tests.models.golden`.

Write them anew when, and only when, the networks are meant to change.
"""

from pathlib import Path

import numpy as np

from face_models.pipeline import Pipeline

PEOPLE = Path(__file__).parents[1] / "data" / "people"
FILE = Path(__file__).parents[1] / "data" / "golden.npz"
PHOTOS = 6
MAP_STRIDE = 16  # every 16th pixel of a map, in both directions


def photos() -> list[Path]:
    every = sorted(PEOPLE.glob("*/*.webp"))
    return every[:: len(every) // PHOTOS][:PHOTOS]


def answers() -> dict[str, np.ndarray]:
    """Landmarks (n, 5, 2), embeddings (n, 128) of both networks, thinned maps (n, 14, 14)."""
    pipeline = Pipeline.load()
    faces = [pipeline.choose(pipeline.analyse(photo.read_bytes())) for photo in photos()]
    embeddings = pipeline.embed(faces)
    return {
        "landmarks": np.stack([face.landmarks for face in faces]),
        "base": embeddings.base,
        "heatmap": embeddings.heatmap,
        "maps": embeddings.maps[:, ::MAP_STRIDE, ::MAP_STRIDE],
    }


if __name__ == "__main__":
    np.savez_compressed(FILE, **answers())
    print(FILE)
