"""A checkpoint's averaged weights -> detector.onnx: bytes in, normalisation in the graph."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from face_models.detect import INPUT_SIDE_PX, STRIDES
from face_models.training.detector.network import DetectorNetwork
from face_models.training.detector.settings import NetworkSettings

OPSET = 17


def export(checkpoint: Path, out_path: Path) -> Path:
    """Answers `out_path`, replaced in one move."""
    state = torch.load(checkpoint, weights_only=True)
    network = DetectorNetwork(NetworkSettings(**state["settings"]["network"]))
    network.load_state_dict(state["average"])
    out_path.parent.mkdir(parents=True, exist_ok=True)
    partial = out_path.with_suffix(".partial")
    write_graph(network, partial)
    return partial.replace(out_path)


def write_graph(network: DetectorNetwork, path: Path) -> None:
    """Input `rgb` uint8 (1, 3, H, W), sides multiples of 32; outputs `faces_8`, `_16`, `_32`."""
    names = [f"faces_{stride}" for stride in STRIDES]
    sizes = {2: "height", 3: "width"}
    rgb = torch.zeros(1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The newer exporter needs onnxscript and unrolls sizes; this one says that it is the older.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.eval(),
            (rgb,),
            path,
            input_names=["rgb"],
            output_names=names,
            dynamic_axes=dict.fromkeys(["rgb", *names], sizes),
            opset_version=OPSET,
            dynamo=False,
        )
