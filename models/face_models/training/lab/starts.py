"""Where the laboratory's networks start: weights of this repository, in half precision.

They learnt the teacher's answers by the configs of models/configs/lab/starts, from photos of nobody
whom the laboratory measures.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from face_models.training.checkpoint import CHECKPOINTS_DIR, Trained
from face_models.training.network import FaceNetwork

TRUNK = "trunk."


def file_of(backbone: str, folder: Path = CHECKPOINTS_DIR) -> Path:
    return folder / f"start-{backbone}.safetensors"


def keep(trained: Trained, folder: Path = CHECKPOINTS_DIR) -> Path:
    """The network becomes its backbone's start; the people that it learnt are not kept."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: _halved(one) for name, one in trained.network.state_dict().items()}
    file = file_of(trained.backbone, folder)
    save_file(weights, file, metadata={"backbone": trained.backbone})
    return file


def _halved(weight: torch.Tensor) -> torch.Tensor:
    """In half precision, if that holds it: a batch norm's variances may be larger."""
    if not weight.is_floating_point():
        return weight.contiguous()
    half = weight.half()
    return (half if half.isfinite().all() else weight).contiguous()


def start_from(network: FaceNetwork, file: Path) -> None:
    """Fills an RGB network from a kept start, or its trunk from a file of backbone weights."""
    weights = load_file(file)
    if any(name.startswith(TRUNK) for name in weights):
        network.load_state_dict(weights)
    else:
        network.trunk.load_state_dict(weights, strict=False)
