"""One training run = one TOML file, read into frozen settings; an unknown key is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from face_models.training.augment import AugmentSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one input size, with its own warm-up and cosine decay."""

    input_px: int
    photos: int  # views to learn from, over as many passes as that takes
    batch: int
    peak_learning_rate: float
    warmup_share: float = 0.05


@dataclass(frozen=True)
class LossSettings:
    distillation: float = 1.0
    arcface: float = 0.03
    arcface_scale: float = 32.0
    arcface_margin_rad: float = 0.3


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, but the data and the code."""

    name: str  # "base" | "heatmap"
    backbone: str
    seed: int
    stages: tuple[Stage, ...]
    init: str = ""  # backbone weights inside the data folder; base network only
    base_run: str = ""  # run folder of the trained base network; heatmap network only
    weight_decay: float = 0.05
    min_photos: int = 2
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)


def read_config(path: Path) -> RunConfig:
    """Raises ValueError naming the unknown or missing key."""
    raw = tomllib.loads(path.read_text())
    raw["stages"] = tuple(_build(Stage, stage, path) for stage in raw.get("stages", []))
    raw["loss"] = _build(LossSettings, raw.get("loss", {}), path)
    raw["augment"] = _build(AugmentSettings, raw.get("augment", {}), path)
    return _build(RunConfig, raw, path)


def _build(kind: type[T], values: Mapping[str, Any], path: Path) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{path.name}: {kind.__name__} has no key {', '.join(unknown)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{path.name}: {kind.__name__}: {error}") from error
