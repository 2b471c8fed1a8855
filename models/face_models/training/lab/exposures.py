"""What the validation photos suffer: the paper's conditions (robustness/conditions.py), counted.

An occlusion is laid at several places, whose figures are averaged; light and noise are laid once.
Whatever a photo suffers follows from its name, the condition, the severity, the repeat and a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.training.lab.photos import Photos, Rows
from face_models.training.robustness.conditions import CONDITIONS, PAPER_SEVERITIES, Condition
from face_models.training.robustness.photos import CLEAN, Treatment, treated

TABLE_SEVERITIES: Mapping[str, float] = MappingProxyType(
    {"gaussian noise": 0.1, "occlusion": 0.3, "brightness": 1.15}
)
"""Those of the paper's table 2; which ones its table 1 has, is not at hand."""

SEEDS_APART: Final = 1000
BY_NAME: Mapping[str, Condition] = MappingProxyType({one.name: one for one in CONDITIONS})


@dataclass(frozen=True)
class Exposure:
    """One severity of one condition, the `repeat`-th time."""

    name: str = CLEAN
    severity: float = 0.0
    repeat: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.severity:g} #{self.repeat}"

    @property
    def treatment(self) -> Treatment:
        condition = BY_NAME.get(self.name)
        return Treatment(condition, self.severity) if condition else Treatment()


def table_exposures(occlusion_repeats: int) -> list[Exposure]:
    """As it is, then every condition at the severity of the tables."""
    spoilt = [
        one
        for name, severity in TABLE_SEVERITIES.items()
        for one in _repeated(name, severity, occlusion_repeats)
    ]
    return [Exposure(), *spoilt]


def sweep_exposures(occlusion_repeats: int) -> list[Exposure]:
    """As it is, then every severity of figure 3; the tables' are among them."""
    spoilt = [
        one
        for name, severities in PAPER_SEVERITIES.items()
        for severity in severities
        for one in _repeated(name, severity, occlusion_repeats)
    ]
    return [Exposure(), *spoilt]


def _repeated(name: str, severity: float, occlusion_repeats: int) -> Sequence[Exposure]:
    repeats = occlusion_repeats if name == "occlusion" else 1
    return [Exposure(name, severity, repeat) for repeat in range(repeats)]


def exposed(photos: Photos, rows: Rows, exposure: Exposure, seed: int) -> NDArray[np.uint8]:
    """(m, px, px, 3): the named photos under one exposure."""
    pixels = np.asarray(photos.pixels[rows])
    if exposure.name == CLEAN:
        return pixels
    repeated = SEEDS_APART * seed + exposure.repeat
    return np.stack(
        [
            treated(one, photos.face_px, exposure.treatment, str(name), repeated)
            for one, name in zip(pixels, photos.name[rows], strict=True)
        ]
    )
