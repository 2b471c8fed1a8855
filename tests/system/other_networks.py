"""Networks that are others and yet as good: the shipped ones with every embedding negated.

Among themselves their similarities are those of the shipped ones; against a shipped one's vector a
face is at -1. So whoever compares across is found out by the first answer.
"""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import onnx
from onnx import ModelProto, helper

from face_models.spec import WEIGHTS_DIR

EMBEDDING = "embedding"
BASE = "base"  # the heatmap network's input that holds the base network's embedding


def write_other_networks(folder: Path) -> Path:
    shutil.copytree(WEIGHTS_DIR, folder)
    for spec in json.loads((folder / "model.json").read_text())["models"].values():
        path = folder / spec["file"]
        onnx.save(_negated(onnx.load(path)), path)
        for description in ("model.json", "calibration.json"):
            _replace(folder / description, spec["sha256"], sha256(path.read_bytes()).hexdigest())
    return folder


def _replace(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def _negated(model: ModelProto) -> ModelProto:
    """What it is given of the other network is turned back, what it answers is turned round."""
    for node in model.graph.node:
        node.output[:] = [f"plain_{name}" if name == EMBEDDING else name for name in node.output]
        node.input[:] = [f"plain_{name}" if name == BASE else name for name in node.input]
    model.graph.node.append(helper.make_node("Neg", [f"plain_{EMBEDDING}"], [EMBEDDING]))
    if BASE in [entry.name for entry in model.graph.input]:
        model.graph.node.insert(0, helper.make_node("Neg", [BASE], [f"plain_{BASE}"]))
    return model
