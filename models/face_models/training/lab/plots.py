"""The laboratory's figures; curves alone, no photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from face_models.training.lab.answers import FORMS
from face_models.training.lab.figures import CONDITIONS, UNSPOILT
from face_models.training.lab.words import SHORT
from face_models.training.robustness.conditions import PAPER_SEVERITIES
from face_models.training.robustness.photos import CLEAN

DPI: Final = 100
FIRST_EPOCHS: Final = 5
DASHES: Final = {"base": "--", "heatmap": "-"}

Numbers = Mapping[str, Any]


def draw_sweep(study: Numbers, path: Path) -> None:
    """Figure 3: a panel a condition; dashed base, solid heatmap, a colour a backbone."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(PAPER_SEVERITIES), sharey=True)
    for axes, condition in zip(panels, PAPER_SEVERITIES, strict=True):
        for number, (backbone, by_arm) in enumerate(study["networks"].items()):
            for arm, dashes in DASHES.items():
                points = _points(by_arm[arm], condition)
                across, up, spread = zip(*points, strict=True)
                label = f"{SHORT[backbone]} {arm}"
                axes.errorbar(
                    across, up, spread, label=label, linestyle=dashes, color=f"C{number}",
                    marker=".", capsize=2,
                )  # fmt: skip
        axes.set(title=condition, xlabel="severity")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("macro-F1")
    panels[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=DPI)


def _points(network: Numbers, condition: str) -> list[tuple[float, float, float]]:
    """Severity, mean and spread over the seeds, the photo as it is among them."""
    found = []
    for row in network["severities"]:
        if row["condition"] not in (condition, CLEAN):
            continue
        clean = row["condition"] == CLEAN
        severity = UNSPOILT.get(condition, 0.0) if clean else row["severity"]
        found.append((severity, row["macro_f1"]["mean"], row["macro_f1"].get("std", 0.0)))
    return sorted(found)


def draw_convergence(study: Numbers, path: Path) -> None:
    """A column a backbone: all epochs above, the first enlarged below; a thin line a seed."""
    networks = study["networks"]
    figure = Figure(figsize=(4 * len(networks), 6), layout="constrained")
    panels = figure.subplots(2, len(networks), squeeze=False)
    for column, (backbone, by_arm) in enumerate(networks.items()):
        whole = max(len(curve) for one in by_arm.values() for curve in one["curves"].values())
        first = min(FIRST_EPOCHS, max(2, whole // 2))
        for row, last in ((0, None), (1, first)):
            axes = panels[row, column]
            for number, (arm, network) in enumerate(by_arm.items()):
                _curves(axes, network, f"C{number}", arm, last)
            axes.set(xlabel="epoch", ylabel="macro-F1")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
        panels[0, column].set_title(SHORT[backbone])
        panels[1, column].set_title("the first epochs", fontsize="small")
        panels[0, column].legend(fontsize="x-small")
    figure.savefig(path, dpi=DPI)


def _curves(axes: Axes, network: Numbers, colour: str, arm: str, last: int | None) -> None:
    curves = [curve[:last] for curve in network["curves"].values()]
    epochs = range(1, len(curves[0]) + 1)
    for curve in curves:
        axes.plot(epochs, curve, color=colour, alpha=0.3, linewidth=0.8)
    mean = [sum(each) / len(each) for each in zip(*curves, strict=True)]
    axes.plot(epochs, mean, ".-", color=colour, label=arm)


def draw_forms(study: Numbers, path: Path) -> None:
    """Table 2 as bars: a panel a backbone."""
    figure = Figure(figsize=(4 * len(study["forms"]), 3.2), layout="constrained")
    panels = figure.subplots(1, len(study["forms"]), squeeze=False, sharey=True)[0]
    width = 0.8 / len(FORMS)
    for axes, (backbone, by_form) in zip(panels, study["forms"].items(), strict=True):
        for number, (form, found) in enumerate(by_form.items()):
            places = [at + width * number for at in range(len(CONDITIONS))]
            means = [found[name]["macro_f1"]["mean"] for name in CONDITIONS]
            spreads = [found[name]["macro_f1"].get("std", 0.0) for name in CONDITIONS]
            axes.bar(places, means, width, yerr=spreads, label=form)
        axes.set_xticks([at + 0.3 for at in range(len(CONDITIONS))], CONDITIONS, fontsize=7)
        axes.set_title(SHORT[backbone])
    panels[0].set_ylabel("macro-F1")
    panels[0].legend(fontsize="x-small")
    figure.savefig(path, dpi=DPI)


def draw_lfw(lfw: Numbers, path: Path) -> None:
    """ROC of the first seed; in the legend the mean AUC over the seeds."""
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (backbone, by_arm) in enumerate(lfw["networks"].items()):
        for arm, dashes in DASHES.items():
            found = by_arm[arm]
            label = f"{SHORT[backbone]} {arm}: AUC {found['auc']['mean']:.4f}"
            roc = found["roc"]
            axes.plot(roc["far"], roc["tar"], dashes, color=f"C{number}", label=label)
    axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    axes.set(xlabel="false accept rate", ylabel="true accept rate")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=DPI)


def draw_areas(maps: Numbers, path: Path) -> None:
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 2)
    names = list(maps["areas"])
    for axes, kind in zip(panels, ("deletion", "insertion"), strict=True):
        means = [maps["areas"][name][kind]["mean"] for name in names]
        axes.barh(names[::-1], means[::-1], color="C0" if kind == "deletion" else "C1")
        axes.set_title(f"{kind}: {'lower' if kind == 'deletion' else 'higher'} is more faithful")
    figure.savefig(path, dpi=DPI)
