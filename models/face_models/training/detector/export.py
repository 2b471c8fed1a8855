"""Averaged weights -> detector.onnx and landmarks.onnx: bytes in, normalisation in the graph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from face_models.detect import INPUT_SIDE_PX, STRIDES
from face_models.landmarks import CROP_PX, LANDMARKS_FILE
from face_models.training.detector.landmark_network import LandmarkNetwork
from face_models.training.detector.network import DetectorNetwork
from face_models.training.detector.settings import NetworkSettings

OPSET = 17


def export(checkpoint: Path, out_path: Path) -> Path:
    """Answers `out_path`; a landmark network beside the checkpoint goes to beside it."""
    state = torch.load(checkpoint, weights_only=True)
    network = DetectorNetwork(NetworkSettings(**state["settings"]["network"]))
    network.load_state_dict(state["average"])
    write_detector(network, out_path)
    trained = landmarks_of(checkpoint)
    if trained.exists():  # the detector may have been trained alone
        landmarks = LandmarkNetwork()
        landmarks.load_state_dict(torch.load(trained, weights_only=True)["average"])
        write_landmarks(landmarks, out_path.with_name(LANDMARKS_FILE))
    return out_path


def landmarks_of(checkpoint: Path) -> Path:
    """Where the landmark network lies that was trained in the same run."""
    return checkpoint.with_name("landmarks.pt")


def write_detector(network: DetectorNetwork, path: Path) -> None:
    """Input `rgb` uint8 (1, 3, H, W), sides multiples of 32; outputs `faces_8`, `_16`, `_32`."""
    names = [f"faces_{stride}" for stride in STRIDES]
    axes = {name: {2: "height", 3: "width"} for name in ("rgb", *names)}
    rgb = torch.zeros(1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX, dtype=torch.uint8)
    _write_graph(network, rgb, names, axes, path)


def write_landmarks(network: LandmarkNetwork, path: Path) -> None:
    """Input `rgb` uint8 (n, 3, 80, 80); output `offsets` (n, 10)."""
    rgb = torch.zeros(1, 3, CROP_PX, CROP_PX, dtype=torch.uint8)
    _write_graph(network, rgb, ["offsets"], {"rgb": {0: "n"}, "offsets": {0: "n"}}, path)


def _write_graph(
    network: nn.Module, rgb: Tensor, names: Sequence[str], axes: Mapping[str, Any], path: Path
) -> None:
    """Replaces the file in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with warnings.catch_warnings():
        # The newer exporter needs onnxscript and unrolls sizes; this one says that it is the older.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.eval(),
            (rgb,),
            partial,
            input_names=["rgb"],
            output_names=list(names),
            dynamic_axes=dict(axes),
            opset_version=OPSET,
            dynamo=False,
        )
    partial.replace(path)
