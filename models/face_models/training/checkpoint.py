"""A trained network as one safetensors file: where exports, tests and fine-tuning start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from face_models.training.gradcam import ExplainedBase
from face_models.training.network import ATTENTION_STRENGTH, BRANCH, FaceNetwork

CHECKPOINTS_DIR = Path(__file__).parents[2] / "checkpoints"  # of the repository, not installed
IDENTITY_CENTRES = "identity_centres"


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode with the directions (identities, 128) it learnt people by."""

    backbone: str
    network: FaceNetwork
    identity_centres: Tensor

    def explained(self) -> ExplainedBase:
        """The network together with its heatmap; for base networks."""
        return ExplainedBase(self.network, self.identity_centres).eval()


def rebuild(backbone: str, weights: Mapping[str, Tensor], identity_centres: Tensor) -> Trained:
    """A network from its weights; they tell how it takes the heatmap."""
    channels = next(weight for weight in weights.values() if weight.ndim == 4).shape[1]
    network = FaceNetwork(
        backbone,
        input_channels=channels,
        attends=ATTENTION_STRENGTH in weights,
        branches=any(name.startswith(BRANCH + ".") for name in weights),
    )
    network.load_state_dict(dict(weights))
    return Trained(backbone, network.eval(), identity_centres)


def save_trained(trained: Trained, file: Path) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in trained.network.state_dict().items()}
    tensors[IDENTITY_CENTRES] = trained.identity_centres.contiguous()
    save_file(tensors, file, metadata={"backbone": trained.backbone})


def load_trained(file: Path) -> Trained:
    with safe_open(file, framework="pt") as header:
        backbone = header.metadata()["backbone"]
    weights = load_file(file)
    identity_centres = weights.pop(IDENTITY_CENTRES)
    return rebuild(backbone, weights, identity_centres)
