"""`face-models restored evaluate`: original, masked and restored faces, matched and aged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from face_models.spec import load_specs, read_json, sha256_of
from face_models.training.provenance import provenance
from face_models.training.restored import ages, people
from face_models.training.restored import faces as who
from face_models.training.restored.request import AGES, PARTS, PEOPLE, Request
from face_models.training.restored.settings import read_run
from face_models.training.restored.train import CONFIG_FILE
from face_models.training.restored.trained import load_restoration

DATA = {
    PEOPLE: "photos of the validation people, others than those of the training",
    AGES: "UTKFace photos kept from training",
}


def evaluate(request: Request, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """The named parts, each with its provenance and the networks that it speaks of."""
    torch.set_num_threads(request.threads)
    material = who.load(request.data, request.cache_dir)
    restoration = load_restoration(request.runs)
    judges = {PEOPLE: people.judge, AGES: ages.judge}
    return {
        part: {
            **judges[part](request, material, restoration),
            "runs": {name: _run(request.runs / name) for name in _runs(request, part)},
            "weights_sha256": {
                name: spec.sha256 for name, spec in load_specs(request.weights).models.items()
            },
            "bootstrap": asdict(request.resampling),
            "provenance": asdict(provenance(DATA[part], request.resampling.seed)),
        }
        for part in parts
    }


def merged(parts: dict[str, Any], earlier: Path) -> dict[str, Any]:
    """What was measured now, beside the other part of an earlier document."""
    known = read_json(earlier) if earlier.exists() and set(parts) != set(PARTS) else {}
    return {name: (parts | dict(known) | parts)[name] for name in PARTS if name in {*parts, *known}}


def _runs(request: Request, part: str) -> list[str]:
    return ["region", "restoration", *(request.age_runs if part == AGES else [])]


def _run(run_dir: Path) -> dict[str, Any]:
    """What trained it, and for how long."""
    run = read_run(run_dir / CONFIG_FILE)
    checkpoint = run_dir / f"{run.kind}.pt"
    state = torch.load(checkpoint, weights_only=True)
    return {
        "seed": run.training.seed,
        "steps": state["step"],
        "examples": state["step"] * run.training.batch,
        "minutes": round(state["seconds"] / 60, 1),
        "parameters": sum(
            weight.numel() for weight in state["average"].values() if weight.is_floating_point()
        ),
        "sha256": sha256_of(checkpoint),
    }
