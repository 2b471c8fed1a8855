"""How old original, masked and restored faces look: MAE of every age network.

One network is chosen by its MAE on one tenth of the ages, and all are judged on another.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.restored import findings
from face_models.training.restored.faces import Aged, Material
from face_models.training.restored.request import Request
from face_models.training.restored.train import shipped_base
from face_models.training.restored.trained import AgeTeller, Restoration, load_age_teller
from face_models.training.restored.treated import (
    DIFFERENCES,
    MASKED,
    ORIGINAL,
    RESTORED,
    TREATMENTS,
    Treated,
    treat,
)

STUDY_MAE: Final = {ORIGINAL: 4.47, MASKED: 11.33, RESTORED: 7.86}
"""Years, table 1 of the study of age estimation under occlusion."""


def judge(request: Request, material: Material, restoration: Restoration) -> dict[str, Any]:
    """Raises FileNotFoundError where no age network was trained."""
    if not request.age_runs:
        raise FileNotFoundError(f"no trained age network under {request.runs}")
    base = shipped_base()
    tellers = [load_age_teller(request.runs / name, base) for name in request.age_runs]
    seed = request.resampling.seed
    choosing = _treated_aged(material.aged_choosing, restoration, seed)
    chosen_by = {
        one.run: {
            name: _mae(one, choosing, name, material.aged_choosing) for name in TREATMENTS[:3]
        }
        for one in tellers
    }
    reporting = _treated_aged(material.aged_reporting, restoration, seed)
    years = material.aged_learning.years
    return {
        "learned_from": len(years),
        "choosing": {"number": len(material.aged_choosing), "mae": chosen_by},
        "chosen": min(chosen_by, key=lambda name: chosen_by[name][ORIGINAL]),
        "always_the_median": float(np.abs(material.aged_reporting.years - np.median(years)).mean()),
        "study_mae": STUDY_MAE,
        "networks": {
            one.run: _judged(one, reporting, material.aged_reporting, request.resampling)
            for one in tellers
        },
    }


def _treated_aged(aged: Aged, restoration: Restoration, seed: int) -> Treated:
    return treat(
        aged.faces.images(np.arange(len(aged))), aged.faces.rows.tolist(), restoration, seed
    )


def _mae(teller: AgeTeller, treated: Treated, name: str, aged: Aged) -> float:
    return float(np.abs(teller(treated.faces[name]) - aged.years).mean())


def _judged(
    teller: AgeTeller, treated: Treated, aged: Aged, resampling: Resampling
) -> dict[str, Any]:
    told = {name: teller(faces) for name, faces in treated.faces.items()}
    figures = findings.age_figures(told, aged.years, aged.group, resampling)
    differences = {
        name: findings.age_difference(told[these], told[those], aged.years, aged.group, resampling)
        for name, (these, those) in DIFFERENCES.items()
    }
    return {"figures": figures, "differences": differences}
