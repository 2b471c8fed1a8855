"""Measured figures as JSON, tables and curves in models/reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from face_models.training.evaluate import Pair, PairsReport
from face_models.training.provenance import Provenance
from face_models.training.publish import Validation
from face_models.training.verification import roc

PAPER_BEST = {"auc": 0.8372, "eer": 0.2435}
SMALLEST_FAR_SHOWN = 1e-4


def pairs_document(reports: Sequence[PairsReport], source: Provenance) -> dict[str, Any]:
    """What `evaluate` writes: one flat entry per network, and where the figures come from."""
    models = {
        report.model: {
            **asdict(report.verification),
            "photos": report.photos,
            "failures_to_enrol": len(report.failures_to_enrol),
            "failed_photos": report.failures_to_enrol,
            "enrolled_only": asdict(report.enrolled_only),
        }
        for report in reports
    }
    return {"models": models, "paper_best": PAPER_BEST, "provenance": asdict(source)}


def validation_document(
    validation: Validation, differences: Mapping[str, float], source: Provenance
) -> dict[str, Any]:
    return {
        **asdict(validation),
        "onnx_against_torch_max_difference": dict(differences),
        "provenance": asdict(source),
    }


def write_document(document: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def draw_roc(reports: Sequence[PairsReport], pairs: Sequence[Pair], path: Path) -> None:
    """True against false accept rate, the latter logarithmic; one line a network."""
    same = np.array([pair.same for pair in pairs])
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for report in reports:
        far, tar = roc(report.similarities, same)
        label = f"{report.model}: AUC {report.verification.auc:.4f}"
        axes.plot(np.maximum(far, SMALLEST_FAR_SHOWN), tar, label=label)
    axes.set(
        xscale="log",
        xlim=(SMALLEST_FAR_SHOWN, 1),
        ylim=(0.5, 1.005),
        xlabel="false accept rate",
        ylabel="true accept rate",
        title=f"LFW view 2, {len(pairs)} pairs, whole pipeline",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
