"""What is told of the networks at work: their card, its plots, and what a similarity means.

All of it lies in the weights folder, so that other weights bring their own; a folder without card
or plots, as retraining leaves it, has nothing to tell of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from face_models.calibration import MEDIAN_PERSON
from inference_server.scale import Scale

CARD_FILE: Final = "MODEL_CARD.md"
PLOTS_DIR: Final = "plots"
CURVE_STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class MeaningCurve:
    """The median person's false match rate over similarities from 0 to 1."""

    similarity: Sequence[float]
    fmr: Sequence[float]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """`curves`: by model, of those that are calibrated."""

    text: str
    plots: Sequence[str]
    curves: Mapping[str, MeaningCurve]


def read_card(weights_dir: Path, scale: Scale, models: Sequence[str]) -> ModelCard:
    return ModelCard(
        text=_read_text(weights_dir / CARD_FILE),
        plots=list_plots(weights_dir),
        curves={model: _curve(scale, model) for model in models if scale.covers(model)},
    )


def list_plots(weights_dir: Path) -> Sequence[str]:
    """Names without their ending, in order."""
    return sorted(path.stem for path in (weights_dir / PLOTS_DIR).glob("*.png"))


def read_plot(weights_dir: Path, name: str) -> bytes | None:
    """A PNG; None where there is no plot of that name."""
    if name not in list_plots(weights_dir):
        return None
    return (weights_dir / PLOTS_DIR / f"{name}.png").read_bytes()


def _read_text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _curve(scale: Scale, model: str) -> MeaningCurve:
    similarity = [step / CURVE_STEPS for step in range(CURVE_STEPS + 1)]
    return MeaningCurve(similarity, [scale.fmr(model, one, MEDIAN_PERSON) for one in similarity])
