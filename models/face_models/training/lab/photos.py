"""Photos of a study: square crops of people in bright, medium and dark light."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from face_models.photo import Rgb
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.robustness.conditions import Box

LIGHTS: Final = ("bright", "medium", "dark")
LEARNT_LIGHTS: Final = ("bright", "medium")
PIXELS_FILE, LABELS_FILE = "pixels.npy", "labels.json"

Rows = NDArray[np.int64]
Frame = Literal["aligned", "box"]  # how a crop was cut: on the landmark template, around a box


@dataclass(frozen=True)
class Shot:
    """One photo as a source hands it over, cut and scaled."""

    crop: Rgb
    person: str
    light: str
    name: str


@dataclass(frozen=True)
class Photos:
    """Row i of every field speaks of the same photo."""

    pixels: NDArray[np.uint8]  # (n, px, px, 3), RGB
    person: Rows  # (n,) 0..people-1
    light: NDArray[np.str_]
    name: NDArray[np.str_]
    face: Box  # where the face lies in every crop, as shares of its side

    @property
    def people(self) -> int:
        return int(self.person.max()) + 1

    @property
    def face_px(self) -> Box:
        x, y, width, height = (share * self.pixels.shape[1] for share in self.face)
        return x, y, width, height

    def to_learn(self) -> Rows:
        return np.flatnonzero(np.isin(self.light, LEARNT_LIGHTS))

    def to_validate(self, most: int, seed: int) -> Rows:
        """The dark photos, or about `most` of them, as many of each person as can be."""
        dark = np.flatnonzero(~np.isin(self.light, LEARNT_LIGHTS))
        shuffled = np.random.default_rng(seed).permutation(dark)
        if not most or most >= len(dark):
            return shuffled
        turn = _turns(self.person[shuffled])
        return shuffled[np.sort(np.argsort(turn, kind="stable")[:most])]


def _turns(person: Rows) -> Rows:
    """How many photos of the same person stand before each, (n,)."""
    turn = np.empty(len(person), dtype=np.int64)
    for one in np.unique(person):
        rows = person == one
        turn[rows] = np.arange(int(rows.sum()))
    return turn


def keep(shots: Iterable[Shot], count: int, face: Box, folder: Path) -> None:
    """Write `count` shots as they come; people without learnt or dark photos are left out later.

    Raises:
        UnusableInput: nobody has both.
    """
    labels: list[tuple[str, str, str]] = []
    first, rest = _first(shots)
    shape = (count, *first.crop.shape)
    pixels = np.lib.format.open_memmap(folder / PIXELS_FILE, mode="w+", dtype=np.uint8, shape=shape)
    for row, shot in enumerate(rest):
        pixels[row] = shot.crop
        labels.append((shot.person, shot.light, shot.name))
    pixels.flush()
    text = json.dumps({"face": face, "photos": labels}, ensure_ascii=False)
    (folder / LABELS_FILE).write_text(text, encoding="utf-8")
    _numbered(labels)  # refuses a set that nothing can be learnt from


def load(folder: Path) -> Photos:
    told = json.loads((folder / LABELS_FILE).read_text(encoding="utf-8"))
    labels = [(person, light, name) for person, light, name in told["photos"]]
    kept, person = _numbered(labels)
    pixels = np.load(folder / PIXELS_FILE, mmap_mode="r")[: len(labels)]
    x, y, width, height = told["face"]
    return Photos(
        pixels=pixels if len(kept) == len(labels) else pixels[kept],
        person=person,
        light=np.array([labels[row][1] for row in kept]),
        name=np.array([labels[row][2] for row in kept]),
        face=(x, y, width, height),
    )


def _numbered(labels: list[tuple[str, str, str]]) -> tuple[Rows, Rows]:
    """The rows of people seen in learnt and in dark light, and their numbers."""
    learnt = {person for person, light, _ in labels if light in LEARNT_LIGHTS}
    dark = {person for person, light, _ in labels if light not in LEARNT_LIGHTS}
    number = {person: place for place, person in enumerate(sorted(learnt & dark))}
    if len(number) < 2:
        raise UnusableInput(
            f"{len(number)} people have photos both in {' or '.join(LEARNT_LIGHTS)} and in dark "
            "light; a study needs two."
        )
    kept = np.array([row for row, (person, _, _) in enumerate(labels) if person in number])
    return kept, np.array([number[labels[row][0]] for row in kept])


def _first(shots: Iterable[Shot]) -> tuple[Shot, Iterator[Shot]]:
    rest = iter(shots)
    first = next(rest, None)
    if first is None:
        raise UnusableInput("The source holds no photo.")
    return first, chain([first], rest)
