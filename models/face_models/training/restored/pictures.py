"""Pictures of the report: faces of nobody under every treatment, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from face_models.pipeline import Pipeline
from face_models.training.augment import Faces
from face_models.training.data import FACE_PX
from face_models.training.restored.ages import STUDY_MAE
from face_models.training.restored.request import AGES, PEOPLE
from face_models.training.restored.trained import Restoration
from face_models.training.restored.treated import (
    MASKED,
    MEAN,
    ORIGINAL,
    RESTORED,
    TREATMENTS,
    Treated,
    treat,
)
from face_models.training.restored.words import SERVED

SHOWN: Final = 7
SHOWN_TREATMENTS: Final = (ORIGINAL, MASKED, RESTORED, MEAN)
OUTLINE: Final = (255, 60, 60)


def draw(document: Mapping[str, Any], people: Path, restoration: Restoration, path: Path) -> None:
    """`people`: a folder a person, of composites that are nobody."""
    figure = Figure(figsize=(10, 10.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(2.1, 1))
    faces, names = demo_faces(people)
    axes = figure.add_subplot(grid[0, :])
    axes.imshow(sheet(treat(faces, names, restoration, seed=0)))
    axes.set_xticks([])
    rows = [*SHOWN_TREATMENTS[:2], "found", *SHOWN_TREATMENTS[2:]]
    axes.set_yticks(FACE_PX * (np.arange(len(rows)) + 0.5), rows)
    axes.set_title("Composites, which are nobody")
    panels = [figure.add_subplot(grid[1, column]) for column in range(3)]
    if PEOPLE in document:
        matched = document[PEOPLE]["match"][SERVED]
        _match(panels[0], matched, "rank_1", "rank-1")
        _match(panels[1], matched, "auc", "AUC")
    if AGES in document:
        _ages(panels[2], document[AGES])
    figure.savefig(path, dpi=90)


def demo_faces(people: Path) -> tuple[Faces, list[str]]:
    """One photo of some people, aligned to 112 px, as our own pipeline finds them."""
    pipeline = Pipeline.load()
    names = sorted(folder.name for folder in people.iterdir() if folder.is_dir())[:SHOWN]
    crops = [
        pipeline.analyse(min((people / name).iterdir()).read_bytes()).faces[0].crop
        for name in names
    ]
    small = [cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.stack(small).astype(np.uint8), names


def sheet(treated: Treated) -> Faces:
    """(rows x 112, faces x 112, 3): originals, masked, what was found outlined, restored, mean."""
    rows = [treated.faces[name] for name in SHOWN_TREATMENTS]
    outlined = treated.faces[MASKED].copy()
    for face, region in zip(outlined, treated.found, strict=True):
        inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        face[region & ~inner] = OUTLINE
    rows.insert(2, outlined)
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def _match(axes: Axes, matched: Mapping[str, Any], name: str, title: str) -> None:
    values = [matched["figures"][one][name] for one in TREATMENTS]
    intervals = [matched["intervals"][one][name] for one in TREATMENTS]
    _points(axes, values, intervals, "ours")
    axes.set_title(f"{title}, {SERVED} network")


def _ages(axes: Axes, age: Mapping[str, Any]) -> None:
    maes = [age["networks"][age["chosen"]]["figures"][one]["mae"] for one in TREATMENTS]
    _points(axes, [one["mean"] for one in maes], [one["interval"] for one in maes], "ours")
    axes.scatter(list(STUDY_MAE), list(STUDY_MAE.values()), color="#b2432f", label="the study")
    axes.set_title("age, MAE in years")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def _points(
    axes: Axes, values: Sequence[float], intervals: Sequence[Sequence[float]], label: str
) -> None:
    """With their 95 % intervals; no bars, whose length would lie where an axis leaves out zero."""
    errors = np.abs(np.array(intervals).T - values)
    axes.errorbar(TREATMENTS, values, errors, fmt="o", color="#2f6690", capsize=4, label=label)
    axes.tick_params(axis="x", rotation=35)
    axes.margins(x=0.12)
    axes.grid(axis="y", alpha=0.3)
