"""Photos with JSON metadata, the paper's form: person / light / pose, a face box in the JSON.

The paper's set came from AI-Hub and is not public, and the names of its own keys are not at hand.
The layout read where the settings say nothing, one JSON beside each photo, of the same name:

    <folder>/<person>/<light>/<pose>.jpg
    <folder>/<person>/<light>/<pose>.json    {"person": "p001", "light": "bright", "pose": "front",
                                              "box": [x, y, width, height]}

Folders may be named and nested in any way; what counts is the JSON. Its keys are named by the
study's settings, as dotted paths where the JSON is nested (`box = "annotation.face.box"`). A box is
a list of four numbers or a mapping with x, y, width (w), height (h); `corners = true` where it ends
with the opposite corner. `lights` maps the set's own words to bright, medium and dark. A person or
light that the JSON does not hold is taken from the folders' names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from face_models.errors import PhotoError
from face_models.photo import read_photo
from face_models.training.evaluation.protocol import PHOTO_SUFFIXES, UnusableInput
from face_models.training.lab.photos import LIGHTS, Shot
from face_models.training.lab.sources.crop import square_crop
from face_models.training.robustness.conditions import Box


@dataclass(frozen=True)
class Layout:
    """Where the JSON has what, as dotted paths."""

    folder: str  # below the data folder
    person: str = "person"
    light: str = "light"
    box: str = "box"
    corners: bool = False
    lights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    photo: Path
    person: str
    light: str
    box: Box


def find_records(folder: Path, layout: Layout) -> list[Record]:
    """In the order of their paths.

    Raises:
        UnusableInput: there is none, or a JSON does not say what it should; the file is named.
    """
    records = [_record(file, layout) for file in sorted(folder.rglob("*.json"))]
    if not records:
        raise UnusableInput(f"{folder} holds no JSON metadata of photos.")
    return records


def shots(records: list[Record], folder: Path, size_px: int) -> Iterator[Shot]:
    for one in records:
        try:
            picture = read_photo(one.photo.read_bytes())
        except PhotoError as error:
            name = one.photo.relative_to(folder)
            raise UnusableInput(f"{name} cannot be read: {error}") from error
        x, y, width, height = (side * picture.scale for side in one.box)
        crop = square_crop(picture.rgb, (x, y, width, height), size_px)
        yield Shot(crop, one.person, one.light, one.photo.relative_to(folder).as_posix())


def _record(file: Path, layout: Layout) -> Record:
    try:
        told = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UnusableInput(f"{file.name} is no JSON: {error}.") from error
    named_light = _named(told, layout.light, file.parent)
    light = layout.lights.get(named_light, named_light)
    if light not in LIGHTS:
        raise UnusableInput(
            f"{file.name}: light {named_light!r} is none of {', '.join(LIGHTS)}; "
            "`lights` in the study's settings maps other words."
        )
    person = _named(told, layout.person, file.parent.parent)
    return Record(_photo_of(file), person, light, _box(_at(told, layout.box), layout, file))


def _named(told: object, path: str, folder: Path) -> str:
    """By the JSON, else by the folder; 0 is a name, too."""
    value = _at(told, path)
    return folder.name if value is None or value == "" else str(value)


def _at(told: object, path: str) -> object:
    for key in path.split("."):
        told = told.get(key) if isinstance(told, Mapping) else None
    return told


def _photo_of(file: Path) -> Path:
    for photo in sorted(file.parent.glob(f"{file.stem}.*")):
        if photo.suffix.lower() in PHOTO_SUFFIXES:
            return photo
    raise UnusableInput(f"{file.name} has no photo of the same name beside it.")


def _box(told: object, layout: Layout, file: Path) -> Box:
    if isinstance(told, Mapping):
        told = [told.get("x"), told.get("y"), told.get("width", told.get("w")),
                told.get("height", told.get("h"))]  # fmt: skip
    try:
        x, y, width, height = np.asarray(told, dtype=np.float64).tolist()
    except (TypeError, ValueError) as error:
        raise UnusableInput(
            f"{file.name}: {layout.box} is not a box of four numbers, but {told!r}."
        ) from error
    if layout.corners:
        width, height = width - x, height - y
    if not (width > 0 and height > 0):
        raise UnusableInput(f"{file.name}: a box {width:g} wide and {height:g} high holds no face.")
    return x, y, width, height
