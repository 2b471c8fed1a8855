"""A robustness report as Markdown tables and as curves by severity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from face_models.training.evaluation.tables import table
from face_models.training.robustness.conditions import CONDITIONS, PAPER_SEVERITIES
from face_models.training.robustness.measure import RESAMPLES

COLUMNS: Final = 3
DROPS_NOTE: Final = (
    "Mean over the severities of each condition; in brackets the 95 % interval of "
    f"{RESAMPLES} draws of pairs."
)


def markdown(report: Mapping[str, Any]) -> str:
    source = report["provenance"]
    parts = [
        "# Robustness",
        f"`{source['command']}`",
        f"{source['data']}; spoilt: {report['treated']}. {_made(source)}",
        "## Drop of AUC at the paper's severities",
        DROPS_NOTE,
        _drops(report["mean_drop_at_the_papers_severities"]),
    ]
    if report["excess_drop"]:
        parts += ["How much more the others lose than ours:", _drops(report["excess_drop"])]
    for condition in dict.fromkeys(row["condition"] for row in _rows(report)):
        parts += [f"## {condition.capitalize()}", _condition(report, condition)]
    return "\n\n".join(parts) + "\n"


def _made(source: Mapping[str, Any]) -> str:
    return (
        f"Commit {source['commit']}, {source['date']}, {source['machine']}, seed {source['seed']}."
    )


def _rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = next(iter(report["networks"].values()))
    return rows


def _drops(drops: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [name, *(_with_interval(one[c]) for c in PAPER_SEVERITIES)] for name, one in drops.items()
    ]
    return table(["network", *PAPER_SEVERITIES], rows)


def _with_interval(drop: Mapping[str, Any]) -> str:
    low, high = drop["interval"]
    return f"{drop['auc']:.4f} [{low:.4f}, {high:.4f}]"


def _condition(report: Mapping[str, Any], condition: str) -> str:
    units = {one.name: one.unit for one in CONDITIONS}
    names = list(report["networks"])
    measured = ("AUC (drop)", "EER", "TAR@FAR 1e-3", "lost")
    head = [units.get(condition, ""), *(f"{name} {what}" for name in names for what in measured)]
    rows = [
        [f"{severity:g}", *(cell for name in names for cell in _cells(report, name, row))]
        for row, severity in enumerate(one["severity"] for one in _rows(report))
        if _rows(report)[row]["condition"] == condition
    ]
    return table(head, rows)


def _cells(report: Mapping[str, Any], name: str, row: int) -> list[str]:
    figure = report["networks"][name][row]
    return [
        f"{figure['auc']:.4f} ({figure['auc_drop']:+.4f})",
        f"{figure['eer']:.4f}",
        f"{figure['tar_at_far']['0.001']:.3f}",
        str(figure["failures"]),
    ]


def draw(report: Mapping[str, Any], path: Path) -> None:
    """A panel per condition: AUC by severity, a line per network; dotted: as it is."""
    shown = [one for one in CONDITIONS if len(one.severities) > 1]
    lines = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 3 * lines), layout="constrained")
    panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True).ravel()
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes, condition in zip(panels, shown, strict=False):
        for name, rows in report["networks"].items():
            points = [row for row in rows if row["condition"] == condition.name]
            (line,) = axes.plot(
                [p["severity"] for p in points], [p["auc"] for p in points], ".-", label=name
            )
            axes.axhline(rows[0]["auc"], color=line.get_color(), linestyle=":", linewidth=1)
        axes.set(title=condition.name, xlabel=condition.unit, ylabel="AUC")
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
