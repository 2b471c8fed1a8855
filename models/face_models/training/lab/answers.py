"""Whom a network takes every validation photo for, under every exposure; forms of its heatmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from face_models.training.checkpoint import Trained
from face_models.training.lab.exposures import Exposure, exposed
from face_models.training.lab.photos import Photos, Rows
from face_models.training.lab.sight import BATCH, Sight
from face_models.training.pixels import enlarged

ANSWERS_FILE = "answers.npz"
NORMAL = "normal"

Form = Callable[[Tensor, torch.Generator], Tensor]
Predicted = Mapping[str, Rows]  # by exposure (str), (m,) in the order of the validated rows


def zero(heat: Tensor, _random: torch.Generator) -> Tensor:
    return torch.zeros_like(heat)


def random_heat(heat: Tensor, random: torch.Generator) -> Tensor:
    """Evenly between 0 and 1, each pixel for itself."""
    return torch.rand(heat.shape, generator=random)


def shuffled(heat: Tensor, _random: torch.Generator) -> Tensor:
    """The map of the next photo of the batch, whose photos stand in no order."""
    return heat.roll(1, dims=0)


def as_it_is(heat: Tensor, _random: torch.Generator) -> Tensor:
    return heat


FORMS: Mapping[str, Form] = MappingProxyType(
    {NORMAL: as_it_is, "zero": zero, "random": random_heat, "shuffle": shuffled}
)
"""Of the paper's table 2: what the fourth channel is told at the test."""


@torch.no_grad()
def predict(
    trained: Trained,
    sight: Sight,
    photos: Photos,
    rows: Rows,
    exposures: Sequence[Exposure],
    seed: int,
    forms: Sequence[str] = (NORMAL,),
) -> dict[str, dict[str, Rows]]:
    """By form of the heatmap and exposure."""
    answer: dict[str, dict[str, Rows]] = {form: {} for form in forms}
    for exposure in tqdm(exposures, "exposures", unit="exposure", leave=False):
        parts: dict[str, list[Tensor]] = {form: [] for form in forms}
        for number, chosen in enumerate(np.array_split(rows, -(-len(rows) // BATCH))):
            pixels = exposed(photos, chosen, exposure, seed)
            rgb = enlarged(pixels, pixels.shape[1])
            heat = sight(rgb)
            random = torch.Generator().manual_seed(seed + number)
            for form, found in parts.items():
                told = None if heat is None else FORMS[form](heat, random)
                cosines = trained.network(rgb, told) @ trained.identity_centres.T
                found.append(cosines.argmax(dim=1))
        for form, found in parts.items():
            answer[form][str(exposure)] = torch.cat(found).numpy()
    return answer


def save(predicted: Mapping[str, Predicted], folder: Path) -> None:
    flat = {f"{form}|{name}": rows for form, by in predicted.items() for name, rows in by.items()}
    np.savez_compressed(folder / ANSWERS_FILE, **flat)  # type: ignore[arg-type]  # numpy's stub


def load(folder: Path) -> dict[str, dict[str, Rows]]:
    answer: dict[str, dict[str, Rows]] = {}
    with np.load(folder / ANSWERS_FILE) as kept:
        for key in kept.files:
            form, _, name = key.partition("|")
            if name:
                answer.setdefault(form, {})[name] = kept[key]
    return answer
