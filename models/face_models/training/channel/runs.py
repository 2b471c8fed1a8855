"""Finished runs that differ in their form of the heatmap and in their seed, and in nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from face_models.training.config import HeatSettings, RunConfig, read_config
from face_models.training.history import last_step
from face_models.training.lesson import schedule
from face_models.training.measure import EMBEDDED_FILE

PREFIX = "channel-"
PATTERN = f"{PREFIX}*-[0-9]*"

Vectors = NDArray[np.float32]  # (faces of the validation split, 128), unit length


class NotComparable(Exception):
    """The runs do not tell forms apart: one is unfinished, or was trained otherwise."""


@dataclass(frozen=True)
class FormRun:
    """`answers`: the validation faces by the network `alone` and `together` with the base."""

    form: str
    seed: int
    config: RunConfig
    answers: Mapping[str, Vectors]


def read_runs(runs_dir: Path, names: Sequence[str], controls: Sequence[str]) -> list[FormRun]:
    """The named runs, or all of this comparison where none is named.

    Raises:
        NotComparable: there is none, one is unfinished, two differ in more than form and seed, or
            a control is missing.
    """
    folders = [runs_dir / name for name in names] or sorted(runs_dir.glob(PATTERN))
    if not folders:
        raise NotComparable(f"no run {PATTERN} in {runs_dir}")
    runs = [_read(folder) for folder in folders]
    for run in runs[1:]:
        if _all_but_form(run.config) != _all_but_form(runs[0].config):
            raise NotComparable(f"{run.form} and {runs[0].form} differ in more than form and seed")
    for control in controls:
        if control not in {run.form for run in runs}:
            raise NotComparable(f"no run of the control {control}")
    return runs


def _read(folder: Path) -> FormRun:
    config = read_config(folder / "config.toml")
    steps = len(schedule(config.stages))
    if not (folder / EMBEDDED_FILE).exists() or last_step(folder) < steps:
        raise NotComparable(f"{folder.name} has not come to its step {steps}")
    form, _, seed = folder.name.removeprefix(PREFIX).rpartition("-")
    with np.load(folder / EMBEDDED_FILE) as embedded:
        return FormRun(form, int(seed), config, dict(embedded))


def _all_but_form(config: RunConfig) -> RunConfig:
    return replace(config, name="", seed=0, heat=HeatSettings())
