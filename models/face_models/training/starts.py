"""Where the laboratory's networks start: weights of this repository, in half precision.

They learnt the teacher's answers by the configs of models/configs/lab/starts, without the people
who are measured, as far as those are named: a few dozen unnamed photos may be theirs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from face_models.training.checkpoint import CHECKPOINTS_DIR, Trained
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.network import FaceNetwork

LEAST_SHARE = 0.5  # of the trunk: a file may lack its last block
TRUNK, PREFIX = "trunk.", "start-"


def file_of(backbone: str, folder: Path = CHECKPOINTS_DIR) -> Path:
    return folder / f"{PREFIX}{backbone}.safetensors"


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
    """Fills an RGB network from a kept start, or its trunk from a file of backbone weights.

    Raises:
        UnusableInput: the file has weights of another network, or of less than half of the trunk.
    """
    weights = load_file(file)
    whole = any(name.startswith(TRUNK) for name in weights)
    filled = network if whole else network.trunk
    wanted = filled.state_dict()
    strangers = sorted(set(weights) - set(wanted))
    if strangers or len(weights) < len(wanted) * (1.0 if whole else LEAST_SHARE):
        told = f"it has {', '.join(strangers[:3])}" if strangers else "it has too few weights"
        raise UnusableInput(f"{file.name} is no start of this backbone: {told}.")
    filled.load_state_dict(weights, strict=whole)
