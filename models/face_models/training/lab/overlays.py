"""Figure 2: what the base network looks at, under every condition and drawn by several methods.

Only pictures of people who do not exist are shown: those of the repository's tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from face_models.align import CROP_PX, align
from face_models.heatmap_overlay import overlay
from face_models.photo import Rgb
from face_models.training.checkpoint import Trained
from face_models.training.lab.exposures import Exposure, exposed
from face_models.training.lab.maps import DRAWERS, METHODS, gradcam_plus_plus
from face_models.training.lab.photos import Photos
from face_models.training.pixels import enlarged
from face_models.training.robustness.conditions import FACE_IN_CROP

SHOWN = 4
EXPOSURES = (
    Exposure(),
    Exposure("gaussian noise", 0.1),
    Exposure("occlusion", 0.3),
    Exposure("brightness", 0.7),
    Exposure("brightness", 1.15),
)


def demo_people(folder: Path, size_px: int) -> Photos:
    """The first picture of the first people, aligned; `folder` has people.json beside it."""
    landmarks = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))["landmarks"]
    names = sorted(landmarks)[:SHOWN]
    crops = []
    for name in names:
        rgb = np.asarray(Image.open(folder / name / "1.webp").convert("RGB"))
        crops.append(align(rgb, np.array(landmarks[name][0], np.float32), size_px))
    x, y, width, height = (side / CROP_PX for side in FACE_IN_CROP)
    light = np.full(len(names), "bright")
    return Photos(
        np.stack(crops), np.arange(len(names)), light, np.array(names), (x, y, width, height)
    )


def draw_conditions(base: Trained, people: Photos, seed: int, path: Path) -> None:
    """A column an exposure: the photo above, the map over it below; two rows a person."""
    columns = []
    for exposure in EXPOSURES:
        pixels = exposed(people, np.arange(len(people.person)), exposure, seed)
        heat = gradcam_plus_plus(base, enlarged(pixels, pixels.shape[1]))
        columns.append(_alternating(pixels, heat))
    titles = [f"{one.name} {one.severity:g}" if one.severity else one.name for one in EXPOSURES]
    _grid(columns, titles, path)


def draw_methods(base: Trained, people: Photos, path: Path) -> None:
    """A column a method, a row a person."""
    rgb = enlarged(people.pixels, people.pixels.shape[1])
    columns = [list(people.pixels)]
    columns += [_overlaid(people.pixels, DRAWERS[name](base, rgb)) for name in METHODS]
    _grid(columns, ["photo", *METHODS], path)


def _alternating(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> list[Rgb]:
    pairs = zip(pixels, _overlaid(pixels, heat), strict=True)
    return [picture for pair in pairs for picture in pair]


def _overlaid(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> list[Rgb]:
    return [overlay(one, drawn) for one, drawn in zip(pixels, heat, strict=True)]


def _grid(columns: list[list[Rgb]], titles: list[str], path: Path) -> None:
    lines = len(columns[0])
    figure = Figure(figsize=(1.7 * len(columns), 1.7 * lines + 0.3), layout="constrained")
    panels = figure.subplots(lines, len(columns), squeeze=False)
    for across, (pictures, title) in enumerate(zip(columns, titles, strict=True)):
        panels[0, across].set_title(title, fontsize="small")
        for down, picture in enumerate(pictures):
            panels[down, across].imshow(picture)
            panels[down, across].set_axis_off()
    figure.savefig(path, dpi=80)
