"""How the runs went: learning curves, what each run ended with, seeds side by side."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from face_models.training.config import read_config
from face_models.training.measure import FALSE_ACCEPT_RATE

FIGURES = ("agreement", "auc", "tar")
SEED_SUFFIX = re.compile(r"-\d+$")

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Run:
    """One run's folder as read: its name, its config's stages, its two logs."""

    name: str
    stages: tuple[dict[str, Any], ...]
    steps: Rows
    measured: Rows

    @property
    def family(self) -> str:
        """What runs share that differ in their seed alone."""
        return SEED_SUFFIX.sub("", self.name)

    def forms(self) -> list[str]:
        return list(dict.fromkeys(_form(row) for row in self.measured))

    def curve(self, form: str, figure: str) -> tuple[list[int], list[float]]:
        rows = [row for row in self.measured if _form(row) == form]
        return [int(row["step"]) for row in rows], [float(row[figure]) for row in rows]

    def ended_with(self, form: str) -> dict[str, float]:
        return {figure: self.curve(form, figure)[1][-1] for figure in FIGURES}


def read_run(run_dir: Path) -> Run:
    """Raises FileNotFoundError naming the log that is missing: the run has not come that far."""
    return Run(
        name=run_dir.name,
        stages=tuple(asdict(stage) for stage in read_config(run_dir / "config.toml").stages),
        steps=_rows(run_dir / "log.csv"),
        measured=_rows(run_dir / "measured.csv"),
    )


def last_step(run_dir: Path) -> int:
    """The step of a run's last measurement; 0 before the first."""
    file = run_dir / "measured.csv"
    return int(_rows(file)[-1]["step"]) if file.exists() else 0


def document(runs: Sequence[Run]) -> dict[str, Any]:
    """By run and form what it ended with; by family the mean and spread over its seeds."""
    ended = {
        run.name: {
            "stages": run.stages,
            "steps": int(run.steps[-1]["step"]),
            "validation": {form: run.ended_with(form) for form in run.forms()},
        }
        for run in runs
    }
    families = {run.family for run in runs if run.family != run.name}
    seeds = {
        family: _over_seeds([run for run in runs if run.family == family])
        for family in sorted(families)
    }
    return {"tar_at_far": FALSE_ACCEPT_RATE, "runs": ended, "over_seeds": seeds}


def table(runs: Sequence[Run]) -> str:
    """Markdown: one line a run and form."""
    lines = [
        f"| run | form | views, px | cosine with the teacher | AUC | TAR@{FALSE_ACCEPT_RATE:g} |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        views = ", ".join(f"{stage['photos']:,} at {stage['input_px']}" for stage in run.stages)
        for form in run.forms():
            cells = " | ".join(f"{value:.4f}" for value in run.ended_with(form).values())
            lines.append(f"| {run.name} | {form} | {views} | {cells} |")
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Run], path: Path) -> None:
    """The distillation loss, and AUC and TAR on the validation identities, by step."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    loss, auc, tar = figure.subplots(1, 3)
    for run in runs:
        steps = [int(row["step"]) for row in run.steps]
        loss.plot(steps, _smooth([float(row["distillation"]) for row in run.steps]), label=run.name)
        for form in run.forms():
            label = run.name if form == "alone" else f"{run.name}, {form}"
            for axes, name in ((auc, "auc"), (tar, "tar")):
                axes.plot(*run.curve(form, name), marker=".", label=label)
    titles = (
        (loss, "distillation loss, training"),
        (auc, "AUC, validation"),
        (tar, f"TAR at FAR {FALSE_ACCEPT_RATE:g}, validation"),
    )
    for axes, title in titles:
        axes.set(title=title, xlabel="step of the run")
        axes.grid(alpha=0.3)
    auc.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def mean_and_spread(values: Sequence[float]) -> dict[str, float]:
    """One value has no spread."""
    spread = {"std": float(np.std(values, ddof=1))} if len(values) > 1 else {}
    return {"mean": float(np.mean(values)), **spread}


def _form(row: Mapping[str, str]) -> str:
    return row.get("form") or "alone"


def _rows(path: Path) -> Rows:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _over_seeds(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        form: {
            "seeds": len(runs),
            **{
                figure: mean_and_spread([run.ended_with(form)[figure] for run in runs])
                for figure in FIGURES
            },
        }
        for form in runs[0].forms()
    }


def _smooth(values: Sequence[float], span: int = 15) -> list[float]:
    """A running mean over `span` entries of the log, fewer at its beginning."""
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - span)
    return list((sums[ends] - sums[starts]) / (ends - starts))
