"""One run = one TOML file -> frozen settings; an unknown or missing key is refused by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from face_models.training.detector.settings import TrainingSettings


@dataclass(frozen=True)
class RegionSettings:
    """Which network finds what hides a face, and what stands before the faces it learns from."""

    widths: tuple[int, int, int]  # channels at strides 2, 4, 8 of the halved picture
    masked_share: float
    covered_share: float  # by a block, a bar or an ellipse instead
    worse_share: float  # blurred, lit badly, noisy or coarse: none of that hides a face


@dataclass(frozen=True)
class RestorationSettings:
    """Which network fills it in, and by what loss: L1 in the hole + weight x (1 - cosine)."""

    widths: tuple[int, int, int]  # channels at strides 2, 4, 8
    deep: int  # gated convolutions at the deepest stride, each reaching twice as far
    identity_weight: float
    identity_share: float  # of every batch: the base network costs more than this one
    most_dilation_px: int  # a found region is never exact


@dataclass(frozen=True)
class AgeSettings:
    """Mean-variance loss (Pan et al. 2018, CVPR): cross entropy + mean + variance terms."""

    way: str  # "head": on the base network's fixed features; "tuned": all of it learns
    masked_share: float  # of the faces it learns from
    mean_weight: float
    variance_weight: float
    input_px: int


Settings = RegionSettings | RestorationSettings | AgeSettings
KINDS: Final = MappingProxyType(
    {"region": RegionSettings, "restoration": RestorationSettings, "age": AgeSettings}
)


@dataclass(frozen=True)
class Run:
    name: str  # of the run's folder
    kind: str
    settings: Settings
    training: TrainingSettings


def read_run(path: Path) -> Run:
    """Raises ValueError naming the file and what is wrong with it."""
    with path.open("rb") as file:
        tables = tomllib.load(file)
    try:
        return run_from(tables)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def run_from(tables: dict[str, Any]) -> Run:
    """Raises KeyError or TypeError that names the key."""
    known = dict(tables)
    name, kind = known.pop("name"), known.pop("kind")
    settings = KINDS[kind](**_with_tuples(known.pop(kind)))
    training = TrainingSettings(**known.pop("training"))
    if known:
        raise TypeError(f"unknown: {', '.join(sorted(known))}")
    return Run(name, kind, settings, training)


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
