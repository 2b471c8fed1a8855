"""Runs -> graphs of the weights folder that serving may be asked for: region.onnx, age.onnx."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from face_models.spec import AGE, REGION, write_specs
from face_models.training.data import FACE_PX
from face_models.training.export import Graph, export_graph
from face_models.training.provenance import provenance
from face_models.training.restored.networks import AgeNetwork, RegionNetwork
from face_models.training.restored.train import shipped_base
from face_models.training.restored.trained import load_run

EXAMPLES: Final = 2


class HiddenChances(nn.Module):
    """RGB (n, 3, 112, 112) -> (n, 112, 112) 0..1."""

    def __init__(self, network: RegionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> Tensor:
        return torch.sigmoid(self.network(rgb))[:, 0]


class YearChances(nn.Module):
    """RGB (n, 3, 112, 112) -> (n, 117), each row a distribution over the years."""

    def __init__(self, network: AgeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> Tensor:
        logits: Tensor = self.network(rgb)
        return logits.softmax(dim=1)


def export(runs_dir: Path, weights_dir: Path, age_run: str | None) -> dict[str, float]:
    """Writes the graphs and names them in model.json; answers each one's difference to torch.

    `age_run`: the run whose network tells ages; none: no age graph.
    """
    modules: dict[str, tuple[nn.Module, str]] = {
        REGION: (HiddenChances(_region(runs_dir / "region")), "hidden")
    }
    if age_run:
        modules[AGE] = (YearChances(_age(runs_dir / age_run)), "years")
    inputs = {"rgb": _example()}
    differences = {
        name: export_graph(Graph(module, inputs, (output,)), weights_dir / f"{name}.onnx")
        for name, (module, output) in modules.items()
    }
    source = asdict(provenance("train/: its `train` split"))
    write_specs(weights_dir, {name: {"run": _run(name, age_run), **source} for name in modules})
    return differences


def _run(name: str, age_run: str | None) -> str:
    return age_run if name == AGE and age_run else name


def _region(run_dir: Path) -> RegionNetwork:
    network = load_run(run_dir)[1]
    if not isinstance(network, RegionNetwork):
        raise TypeError(f"{run_dir} is no run of a region network")
    return network


def _age(run_dir: Path) -> AgeNetwork:
    network = load_run(run_dir, shipped_base())[1]
    if not isinstance(network, AgeNetwork):
        raise TypeError(f"{run_dir} is no run of an age network")
    return network


def _example() -> Tensor:
    """Smooth random pictures, the same at every call."""
    coarse = torch.rand(EXAMPLES, 3, 7, 7, generator=torch.Generator().manual_seed(3))
    return 255 * nn.functional.interpolate(coarse, size=(FACE_PX, FACE_PX), mode="bilinear")
