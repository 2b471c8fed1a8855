"""One run = one TOML file -> frozen settings; an unknown or missing key is refused by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class NetworkSettings:
    widths: tuple[int, int, int, int, int]  # channels at strides 2, 4, 8, 16, 32
    depths: tuple[int, int, int, int]  # residual blocks at strides 4, 8, 16, 32
    neck: int  # channels of the feature pyramid and the heads


@dataclass(frozen=True)
class CanvasSettings:
    side_px: int
    face_px: tuple[float, float]
    crowd_share: float
    crowd_cells: tuple[int, int]
    faceless_share: float
    steep_share: float
    turn_deg: float
    steep_turn_deg: float
    covered_share: float  # of the faces: a part of them hidden
    hard_share: float  # of the faces: drawn by how badly the graph of `start` finds them


@dataclass(frozen=True)
class TrainingSettings:
    seed: int
    batch: int
    steps: int
    minutes: float
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    ema_decay: float
    measure_every: int


@dataclass(frozen=True)
class StartSettings:
    graph: str  # an exported detector to go on from, relative to this file; "": start anew


@dataclass(frozen=True)
class CropSettings:
    aligned_share: float  # of the landmark network's crops: training faces of the embedding nets


@dataclass(frozen=True)
class DetectorSettings:
    start: StartSettings
    network: NetworkSettings
    canvas: CanvasSettings
    training: TrainingSettings
    landmarks: TrainingSettings
    crops: CropSettings


def read_settings(path: Path) -> DetectorSettings:
    with path.open("rb") as file:
        return settings_from(tomllib.load(file))


def settings_from(tables: dict[str, dict[str, Any]]) -> DetectorSettings:
    """Raises TypeError naming the key when a table holds an unknown key or lacks one."""
    frozen = {name: _with_tuples(table) for name, table in tables.items()}
    return DetectorSettings(
        start=StartSettings(**frozen.pop("start")),
        network=NetworkSettings(**frozen.pop("network")),
        canvas=CanvasSettings(**frozen.pop("canvas")),
        training=TrainingSettings(**frozen.pop("training")),
        landmarks=TrainingSettings(**frozen.pop("landmarks")),
        crops=CropSettings(**frozen.pop("crops")),
        **frozen,  # an unknown table is refused here
    )


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
