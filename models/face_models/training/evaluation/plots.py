"""Curves of an evaluation as PNG or SVG: ROC, DET, CMC, FNIR against FPIR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from face_models.training.evaluation.evaluate import PairsReport
from face_models.training.evaluation.gallery import GalleryReport
from face_models.training.evaluation.identification import CMC_RANKS, misses_by_alarms
from face_models.training.evaluation.identities import IdentitiesReport, together
from face_models.training.evaluation.protocol import Pair
from face_models.training.evaluation.verification import Curve, Flags, Scores, curve

FORMATS = ("png", "svg")
SMALLEST_RATE_SHOWN = 1e-4
POINTS_SHOWN = 1000  # of millions: a line has no more pixels
DPI = 120

Corner = Literal["lower left", "lower right"]
Lines = Sequence[tuple[str, Curve]]


def pairs_lines(reports: Sequence[PairsReport], pairs: Sequence[Pair]) -> Lines:
    same = np.array([pair.same for pair in pairs])
    return [
        (f"{report.model}: AUC {report.verification.auc:.4f}", _curve(report.similarities, same))
        for report in reports
    ]


def identities_lines(reports: Sequence[IdentitiesReport]) -> Lines:
    return [
        (f"{report.model}: AUC {report.verification.auc:.4f}", _curve(*together(report.scores)))
        for report in reports
    ]


def draw_roc(lines: Lines, title: str, path: Path) -> None:
    """True against false accept rate, the latter logarithmic; one line a way of description."""
    figure, axes = _empty(title)
    for label, points in lines:
        axes.step(
            np.maximum(points.far, SMALLEST_RATE_SHOWN), points.tar, where="post", label=label
        )
    axes.set(
        xscale="log",
        xlim=(SMALLEST_RATE_SHOWN, 1),
        ylim=(0, 1.005),
        xlabel="false accept rate",
        ylabel="true accept rate",
    )
    _finish(figure, axes, "lower right", path)


def draw_det(lines: Lines, title: str, path: Path) -> None:
    """False non-match against false match rate, both logarithmic."""
    figure, axes = _empty(title)
    for label, points in lines:
        axes.step(points.far, 1 - points.tar, where="post", label=label)
    _log_log(axes, "false match rate", "false non-match rate")
    _finish(figure, axes, "lower left", path)


def draw_cmc(reports: Sequence[GalleryReport], title: str, path: Path) -> None:
    """Share of mated searches by the rank of the mate."""
    figure, axes = _empty(title)
    ranks = np.arange(1, CMC_RANKS + 1)
    for report in reports:
        found = report.identification
        axes.plot(ranks, found.cmc, ".-", label=f"{report.model}: rank-1 {found.rank_1:.4f}")
    axes.set(xlabel="rank", ylabel="share of mated searches", xlim=(0.5, CMC_RANKS + 0.5))
    axes.set_xticks(ranks[::2])
    _finish(figure, axes, "lower right", path)


def draw_open_set(reports: Sequence[GalleryReport], title: str, path: Path) -> None:
    """Misses against false alarms of open-set searches, both logarithmic."""
    figure, axes = _empty(title)
    for report in reports:
        axes.step(*misses_by_alarms(report.outcomes), where="post", label=report.model)
    _log_log(axes, "FPIR", "FNIR")
    _finish(figure, axes, "lower left", path)


def _curve(scores: Scores, same: Flags) -> Curve:
    """Thinned to what can be seen: evenly along the logarithm of the false accept rate."""
    points = curve(scores, same)
    wanted = np.geomspace(SMALLEST_RATE_SHOWN / 10, 1, POINTS_SHOWN)
    kept = np.unique(np.searchsorted(points.far, wanted, side="right") - 1)
    return Curve(points.far[kept], points.tar[kept], points.threshold[kept])


def _empty(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize="medium")
    return figure, axes


def _log_log(axes: Axes, across: str, up: str) -> None:
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(SMALLEST_RATE_SHOWN, 1),
        ylim=(1e-3, 1),
        xlabel=across,
        ylabel=up,
    )


def _finish(figure: Figure, axes: Axes, corner: Corner, path: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(loc=corner)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
