"""What runs the networks: engines, batches, one graph or two."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from choice import SEED, Choice, installed, timed
from numpy.typing import NDArray
from onnx import compose

from face_models.engine import Engine, open_session
from face_models.spec import WEIGHTS_DIR
from face_models.training import data
from face_models.training.evaluation.evaluate import enlarged
from face_models.training.measure import judge

BATCHES = (1, 2, 4, 8)
GRAPHS: Mapping[
    str, Mapping[str, tuple[int, ...]]
] = {  # file -> shapes of its inputs, for one face or one look
    "base.onnx": {"rgb": (1, 3, 224, 224)},
    "heatmap.onnx": {"rgb": (1, 3, 224, 224), "heatmap": (1, 1, 224, 224), "base": (1, 128)},
    "detector.onnx": {"rgb": (1, 3, 320, 320)},
    "landmarks.onnx": {"rgb": (1, 3, 96, 96)},
}

Floats = NDArray[np.float32]


def engines(accuracy: Mapping[str, str]) -> Iterator[Choice]:
    for file, shapes in GRAPHS.items():
        inputs = _example(file, shapes)
        ways: dict[str, Callable[[], object]] = {
            "ONNX Runtime, float32 (kept)": partial(
                open_session(WEIGHTS_DIR / file, 1).run, None, inputs
            )
        }
        if installed("openvino"):
            ways |= {
                "OpenVINO, f32": partial(_openvino(file, shapes, "f32"), inputs),
                "OpenVINO, bf16": partial(_openvino(file, shapes, "bf16"), inputs),
                "OpenVINO, bf16, any shape": partial(_openvino(file, {}, "bf16"), inputs),
            }
        yield timed(
            f"{file}, one run",
            ways,
            "ONNX Runtime, float32. OpenVINO is no faster in float32; its bfloat16 is where the "
            "processor has it, but only in a graph compiled for one shape, and photos and batches "
            "have many; it would also make vectors depend on the machine. int8 and float16: "
            "models/reports/compression.md.",
            accuracy if file == "heatmap.onnx" else {},
        )


def _example(file: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(SEED)
    kinds = {entry.name: entry.type for entry in open_session(WEIGHTS_DIR / file, 1).get_inputs()}
    largest = {"rgb": 255.0, "heatmap": 1.0, "base": 0.1}
    return {
        name: (random.random(shape) * largest[name]).astype(
            np.uint8 if "uint8" in kinds[name] else np.float32
        )
        for name, shape in shapes.items()
    }


def _openvino(
    file: str, shapes: Mapping[str, tuple[int, ...]], precision: str
) -> Callable[[Mapping[str, NDArray[Any]]], Sequence[Floats]]:
    openvino = importlib.import_module("openvino")
    core = openvino.Core()
    model = core.read_model(WEIGHTS_DIR / file)
    if shapes:
        model.reshape({name: list(shape) for name, shape in shapes.items()})
    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    request = core.compile_model(model, "CPU", hints).create_infer_request()

    def infer(inputs: Mapping[str, NDArray[Any]]) -> Sequence[Floats]:
        answers = request.infer(dict(inputs))
        return [np.array(answers[output]) for output in request.model_outputs]

    return infer


def accuracies(data_dir: Path, cache_dir: Path) -> dict[str, str]:
    """Of base and heatmap network together, by engine, on the validation identities."""
    faces = data.load(data_dir, cache_dir, "val")
    embedders: dict[str, Callable[[NDArray[np.uint8]], Floats]] = {
        "ONNX Runtime, float32 (kept)": _by_onnxruntime(Engine())
    }
    for precision in ("f32", "bf16") if installed("openvino") else ():
        embedders[f"OpenVINO, {precision}"] = _by_openvino(precision)
    rows: dict[str, list[Floats]] = {name: [] for name in embedders}
    for crops in enlarged(faces, "validation faces"):
        for name, embed in embedders.items():
            rows[name].extend(embed(crop[None]) for crop in crops)
    return {name: str(judge(np.concatenate(made), faces)) for name, made in rows.items()}


def _by_onnxruntime(engine: Engine) -> Callable[[NDArray[np.uint8]], Floats]:
    return lambda crop: engine.embed(crop).heatmap


def _by_openvino(precision: str) -> Callable[[NDArray[np.uint8]], Floats]:
    base, heatmap = (
        _openvino(file, GRAPHS[file], precision) for file in ("base.onnx", "heatmap.onnx")
    )

    def embed(crop: NDArray[np.uint8]) -> Floats:
        rgb = np.ascontiguousarray(crop.transpose(0, 3, 1, 2), dtype=np.float32)
        embedding, heat = base({"rgb": rgb})
        return heatmap({"rgb": rgb, "heatmap": heat, "base": embedding})[0]

    return embed


def batches() -> Choice:
    engine, random = Engine(), np.random.default_rng(SEED)
    faces = random.integers(0, 256, (max(BATCHES), 224, 224, 3), dtype=np.uint8)

    def one_by_one(count: int) -> None:
        for face in faces[:count]:
            engine.embed(face[None])

    ways: dict[str, Callable[[], object]] = {"8 faces, one by one (kept)": partial(one_by_one, 8)}
    for count in BATCHES[1:]:
        ways[f"8 faces in batches of {count}"] = (
            lambda count=count: [  # type: ignore[misc]
                engine.embed(faces[start : start + count]) for start in range(0, 8, count)
            ]
        )
    return timed(
        "Faces of requests that wait, embedded together",
        ways,
        "One by one: what a batch spares of the embedding is little on a processor, and every face "
        "in it would wait for the last one's detection. Dynamic batching is for GPUs.",
    )


def one_graph() -> Choice:
    base, heatmap = (onnx.load(WEIGHTS_DIR / file) for file in ("base.onnx", "heatmap.onnx"))
    joined = onnxruntime.InferenceSession(
        _joined(base, heatmap).SerializeToString(), _one_thread(), ["CPUExecutionProvider"]
    )
    crop = np.random.default_rng(SEED).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    rgb = crop.transpose(0, 3, 1, 2).astype(np.float32)
    given = {entry.name: rgb for entry in joined.get_inputs()}
    return timed(
        "Base and heatmap network for one face",
        {
            "two graphs (kept)": partial(Engine().embed, crop),
            "one graph": lambda: joined.run(None, given),
        },
        "Two graphs: together they are no faster, and the base network is asked alone, too.",
    )


def _joined(base: onnx.ModelProto, heatmap: onnx.ModelProto) -> onnx.ModelProto:
    passed = [("b/heatmap", "h/heatmap"), ("b/embedding", "h/base")]
    return compose.merge_models(
        compose.add_prefix(base, "b/"), compose.add_prefix(heatmap, "h/"), io_map=passed
    )


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options
