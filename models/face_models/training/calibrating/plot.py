"""FMR with its tail and interval, DET on the validation people, stated against measured FPIR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from face_models.training.calibrating.fit import Fit
from face_models.training.calibrating.study import reached

DPI: Final = 120
LEAST_FMR: Final = 1e-8
LEAST_FPIR: Final = 1e-3
JITTER: Final = 0.03  # of the stated FPIR, so that proofs stand side by side


def draw(fits: Mapping[str, Fit], document: Mapping[str, Any], model: str, path: Path) -> None:
    """One row of three: the FMR of `model`, the DET of all templates, the proofs of `model`."""
    figure = Figure(figsize=(16, 5), layout="constrained")
    fmr, det, fpir = figure.subplots(1, 3)
    _draw_fmr(fmr, fits[model], model)
    for name, fitted in fits.items():
        _draw_det(det, fitted, name)
    det.legend()
    _draw_proofs(fpir, document["models"][model], model)
    figure.savefig(path, dpi=DPI)


def _draw_fmr(axes: Axes, fitted: Fit, model: str) -> None:
    table, comparisons = fitted.table, fitted.comparisons
    grid = np.array(table.similarity)
    low, high = 10 ** np.array(table.log10_fmr_low), 10 ** np.array(table.log10_fmr_high)
    axes.fill_between(grid, low, high, alpha=0.2, label="95 %, bootstrap over families")
    axes.plot(grid, 10 ** np.array(table.log10_fmr), label="stated")
    counted = reached(comparisons.strangers.sum(axis=(0, 1)))
    axes.plot(grid[counted > 0], counted[counted > 0], ".", ms=3, label="counted, strangers")
    related = reached(comparisons.relatives)
    axes.plot(grid[related > 0], related[related > 0], ".", ms=3, label="counted, relatives")
    axes.axvline(table.tail.threshold, color="grey", ls=":", label="tail begins")
    axes.set(
        yscale="log",
        ylim=(LEAST_FMR, 1),
        xlim=(0, 1),
        xlabel="similarity on the probe's own scale",
        ylabel="false match rate",
        title=f"FMR, {model}",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _draw_det(axes: Axes, fitted: Fit, name: str) -> None:
    table = fitted.table
    axes.plot(10 ** np.array(table.log10_fmr), np.array(table.fnmr), label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1e-7, 1),
        ylim=(1e-3, 1),
        xlabel="false match rate",
        ylabel="false non-match rate",
        title="DET, validation people",
    )
    axes.grid(alpha=0.3)


def _draw_proofs(axes: Axes, told: Mapping[str, Any], model: str) -> None:
    kinds: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for proof in told["proofs"]:
        kinds.setdefault((proof["searches"], proof["gallery_size"]), []).append(proof)
    for number, ((searches, size), proofs) in enumerate(kinds.items()):
        shift = 1 + JITTER * (number - len(kinds) / 2)
        stated = np.array([proof["stated"] for proof in proofs]) * shift
        bounds = np.array([[proof["low"], proof["high"]] for proof in proofs])
        measured = np.array([proof["measured"] for proof in proofs])
        colour = f"C{number}"
        axes.vlines(stated, *np.maximum(bounds.T, LEAST_FPIR), color=colour, alpha=0.4, lw=4)
        label = f"{searches}, N = {size:,}"
        axes.plot(stated, np.maximum(measured, LEAST_FPIR), "o", color=colour, label=label)
    ends = (LEAST_FPIR, 0.5)
    axes.plot(ends, ends, color="grey", lw=1)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="FPIR stated",
        ylabel="FPIR measured; bars: 95 % stated",
        title=f"Searches for people who are not enrolled, {model}",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
