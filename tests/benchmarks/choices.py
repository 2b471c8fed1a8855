"""What was tried on the way of a photo, beside what is kept: time, and accuracy where it moves.

    .venv/bin/python -m pip install openvino simplejpeg     # not needed by Reunite
    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/choices.py [--data FOLDER]

One thread, taking turns. `--data`: a training data folder; its validation identities judge the
engines' embeddings, scenes of its held-out photos the views. The report tells why each stayed.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import onnx
import onnxruntime
from embed import GRAIN, demo_photo
from numpy.typing import NDArray
from onnx import compose
from PIL import Image
from timing import take_turns
from tqdm import tqdm
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from face_models import detect
from face_models.detect import GREY, Detection, Detector, View, view_of, whole_cells
from face_models.engine import Engine, open_session
from face_models.photo import Rgb
from face_models.spec import WEIGHTS_DIR
from face_models.training import data
from face_models.training.detector import measure, scenes
from face_models.training.detector.evaluate import false_alarms
from face_models.training.detector.photos import Labels, read_photos
from face_models.training.evaluation.evaluate import enlarged
from face_models.training.measure import judge
from face_models.training.provenance import provenance

REPORTS = Path(__file__).parents[1] / "reports"
LARGE_PX, VIEWED_PX = (4000, 3000), (2000, 1500)  # a photo, and as it is decoded
HALF = 2
HALVED, AVERAGED = "halved step by step (kept)", "averaged over areas"
SITTERS_STEP = 2  # every second labelled face
COARSE_KEPT = "192 px within 32 (kept)"
COARSE_NONE = "no coarse look"
COARSE_LOOKS: Mapping[str, Mapping[str, float]] = {  # shares of the detector's input side, 320 px
    COARSE_KEPT: {},
    "192 px within 32, no score of its own": {"COARSE_SCORE": 0.0},
    "192 px, no margin": {"COARSE_MARGIN_SHARE": 0.0},
    "128 px within 32": {"COARSE_SHARE": 0.4},
    "160 px within 32": {"COARSE_SHARE": 0.5},
    "256 px within 32": {"COARSE_SHARE": 0.8},
    COARSE_NONE: {},
}
FACE_SHARES = (0.03, 0.07, 0.15, 0.35)  # of the scene's height
ROUNDS = 30
BATCHES = (1, 2, 4, 8)
GRAPHS: Mapping[
    str, Mapping[str, tuple[int, ...]]
] = {  # file -> shapes of its inputs, for one face or one look
    "base.onnx": {"rgb": (1, 3, 224, 224)},
    "heatmap.onnx": {"rgb": (1, 3, 224, 224), "heatmap": (1, 1, 224, 224), "base": (1, 128)},
    "detector.onnx": {"rgb": (1, 3, 320, 320)},
    "landmarks.onnx": {"rgb": (1, 3, 96, 96)},
}
SEED = 1

Ways = Mapping[str, Callable[[], object]]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    name: str
    p50_ms: float
    ratio: float  # to the first way of its choice: what is kept
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """`verdict`: what is kept, and why."""

    title: str
    ways: tuple[Way, ...]
    verdict: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="training data, for the engines' accuracy")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="of its pixels")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    accuracy = accuracies(options.data, options.cache) if options.data else {}
    found = found_by_views(options.data) if options.data else {}
    coarse = found_from_afar(options.data) if options.data else {}
    seconds = found_by_second_looks(options.data, options.cache) if options.data else {}
    choices = [
        *(decoders(), views(found), coarse_looks(coarse), second_looks(seconds)),
        *engines(accuracy),
        *(batches(), one_graph(), bodies()),
    ]
    write(choices, "demo photo with grain" + (", validation data" if accuracy else ""))


def timed(title: str, ways: Ways, verdict: str, notes: Mapping[str, str] = {}) -> Choice:
    turns = take_turns(title, {name: (name, way) for name, way in ways.items()}, ROUNDS).times_ms
    kept = next(iter(turns.values()))
    measured = tuple(
        Way(name, median(times), median(b / a for a, b in zip(kept, times, strict=True)), note)
        for name, times in turns.items()
        for note in [notes.get(name, "")]
    )
    choice = Choice(title, measured, verdict)
    print(*table_of(choice), sep="\n", flush=True)
    return choice


def decoders() -> Choice:
    photo = demo_photo(LARGE_PX, GRAIN)
    ways: dict[str, Callable[[], object]] = {
        "Pillow, draft (kept)": partial(_pillow, photo),
        "OpenCV, reduced": lambda: cv2.imdecode(
            np.frombuffer(photo, np.uint8), cv2.IMREAD_REDUCED_COLOR_2
        ),
    }
    if simplejpeg := _installed("simplejpeg"):
        ways["simplejpeg, by factor"] = lambda: simplejpeg.decode_jpeg(photo, min_factor=HALF)
        ways["simplejpeg, fast and coarse"] = lambda: simplejpeg.decode_jpeg(
            photo, min_factor=HALF, fastdct=True, fastupsample=True
        )
    return timed(
        f"JPEG of 12 megapixels, {len(photo) / 1e6:.1f} MB, to pixels at half size",
        ways,
        "Pillow stays. All are libjpeg-turbo, and most of the time is Huffman decoding, which no "
        "scale spares. OpenCV takes cut-off files for whole ones; simplejpeg would be one "
        "dependency more for what remains.",
    )


def _pillow(photo: bytes) -> object:
    image = Image.open(io.BytesIO(photo))
    image.draft(None, (image.width // HALF, image.height // HALF))
    return np.asarray(image)


def views(found: Mapping[str, str]) -> Choice:
    rgb = np.asarray(Image.open(io.BytesIO(demo_photo(VIEWED_PX, GRAIN))))
    return timed(
        "The detector's views, 640 and 320 px, of a photo of 2000 x 1500 px",
        {
            HALVED: lambda: [view_of(rgb, side) for side in (640, 320)],
            AVERAGED: lambda: [averaged_view(rgb, side) for side in (640, 320)],
        },
        "Halved: as good at a fraction of the time.",
        found,
    )


def averaged_view(rgb: Rgb, side_px: int, margin_px: int = 0) -> View:
    """As `view_of` made them before: every pixel of the view is the mean of its area."""
    scale = side_px / max(rgb.shape[:2])
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photo = cv2.resize(rgb, size, interpolation=interpolation)
    columns, rows = (whole_cells(length + 2 * margin_px) for length in size)
    canvas = np.full((rows, columns, 3), GREY, np.uint8)
    canvas[margin_px : margin_px + size[1], margin_px : margin_px + size[0]] = photo
    return View(canvas, scale, margin_px)


def found_by_views(data_dir: Path) -> dict[str, str]:
    """Of faces in large scenes composed of held-out photos, with grain: by the kind of view."""
    detector = Detector(WEIGHTS_DIR / "detector.onnx")
    sitters = scenes.sitters_of(read_photos(data_dir, "val"))[::SITTERS_STEP]
    labels: list[Labels] = []
    found: dict[str, list[list[Detection]]] = {HALVED: [], AVERAGED: []}
    for rgb, faces in tqdm(large_scenes(sitters), "scenes", len(sitters) * len(FACE_SHARES)):
        labels.append(faces)
        for name, view in ((HALVED, view_of), (AVERAGED, averaged_view)):
            with patch.object(detect, "view_of", view):
                found[name].append(detector.detect(rgb))
    return {
        name: _told(measure.match_all(labels, answers), labels) for name, answers in found.items()
    }


def coarse_looks(found: Mapping[str, str]) -> Choice:
    detector = Detector(WEIGHTS_DIR / "detector.onnx")
    size = (scenes.PORTRAIT_PX, scenes.PORTRAIT_PX)
    portrait = np.asarray(Image.open(io.BytesIO(demo_photo(size))))

    def detect_by(name: str) -> object:
        with looking(name):
            return detector.detect(portrait)

    return timed(
        f"A face found in a photo of {size[0]} x {size[1]} px, by the first, coarse look",
        {name: partial(detect_by, name) for name in COARSE_LOOKS},
        "192 px is kept for want of a second test: it was chosen before this table, on other "
        f"portraits. From afar alone a score of {detect.COARSE_SCORE:g} is asked for: without that "
        "limit smears of a few pixels pass for faces (tests/contract).",
        found,
    )


@contextmanager
def looking(name: str) -> Iterator[None]:
    """The detector as one of `COARSE_LOOKS` would have it."""
    with ExitStack() as changed:
        for constant, value in COARSE_LOOKS[name].items():
            changed.enter_context(patch.object(detect, constant, value))
        if name == COARSE_NONE:
            changed.enter_context(patch.object(Detector, "_from_afar", lambda *_: []))
        yield


def found_from_afar(data_dir: Path) -> dict[str, str]:
    """Of the faces of held-out photos and of portraits composed of them, by the coarse look."""
    detector = Detector(WEIGHTS_DIR / "detector.onnx")
    photos = read_photos(data_dir, "val")
    held_out = [(photo.rgb, photo) for photo in photos]
    sitters = scenes.sitters_of(photos)[::SITTERS_STEP]
    portraits = [
        scene
        for share in scenes.PORTRAIT_SHARES
        for scene in scenes.portraits_of(sitters, share, np.random.default_rng(SEED))
    ]
    told = {}
    for name in tqdm(COARSE_LOOKS, "coarse looks"):
        with looking(name):
            drawn = sum(row.alarms for row in false_alarms(detector))
            kinds = {
                kind: _told(measure.match_all(labels, answers), labels)
                for kind, pictures in (("portraits", portraits), ("photos", held_out))
                for labels in [[labels for _, labels in pictures]]
                for answers in [[detector.detect(rgb) for rgb, _ in pictures]]
            }
        told[name] = "; ".join(f"{kind}: {text}" for kind, text in kinds.items())
        told[name] += f"; {drawn} in drawn pictures without a person"
    return told


def large_scenes(sitters: Sequence[scenes.Sitter]) -> Iterator[scenes.Scene]:
    random = np.random.default_rng(SEED)
    for share in FACE_SHARES:
        for sitter in sitters:
            rgb, faces = scenes.scene(sitter, VIEWED_PX, share * VIEWED_PX[1], 0.0, random)
            noisy = rgb + random.normal(0, GRAIN / 2, rgb.shape)
            yield noisy.clip(0, 255).astype(np.uint8), faces


def _told(matches: measure.Matches, labels: Sequence[Labels]) -> str:
    faces = sum(len(one.boxes) for one in labels)
    alarms = int((~matches.hits).sum())
    return f"{matches.hits.sum()} of {faces} faces, {alarms} false alarms in {len(labels)} pictures"


def engines(accuracy: Mapping[str, str]) -> Iterator[Choice]:
    for file, shapes in GRAPHS.items():
        inputs = _example(file, shapes)
        ways: dict[str, Callable[[], object]] = {
            "ONNX Runtime, float32 (kept)": partial(
                open_session(WEIGHTS_DIR / file, 1).run, None, inputs
            )
        }
        if _installed("openvino"):
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
    for precision in ("f32", "bf16") if _installed("openvino") else ():
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


def second_looks(accuracy: Mapping[str, str]) -> Choice:
    crop = np.random.default_rng(SEED).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    return timed(
        "What the heatmap network looks at, beside the base network's look at the face",
        {name: partial(look, crop) for name, look in _second_looks(Engine()).items()},
        "The mirror image, at no cost. These networks learnt for it, each alone from faces of "
        "either side; none learnt as long for the same picture.",
        accuracy,
    )


def _second_looks(engine: Engine) -> dict[str, Callable[[NDArray[np.uint8]], Floats]]:
    heatmap = open_session(WEIGHTS_DIR / "heatmap.onnx", 1)

    def same(crops: NDArray[np.uint8]) -> Floats:
        """The graph mirrors what it is given: it is given the mirror image."""
        seen = engine.embed(crops, ("base",))
        rgb = crops[:, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        maps = np.ascontiguousarray(seen.maps[:, None, :, ::-1])
        given = {"rgb": np.ascontiguousarray(rgb), "heatmap": maps, "base": seen.base}
        return np.asarray(heatmap.run(["embedding"], given)[0])

    return {
        "the mirror image (kept)": lambda crops: engine.embed(crops).heatmap,
        "the same picture": same,
        "both networks at both (FLIP=1)": lambda crops: engine.embed(crops, flip=True).heatmap,
        "none: the base network alone": lambda crops: engine.embed(crops, ("base",)).base,
    }


def found_by_second_looks(data_dir: Path, cache_dir: Path) -> dict[str, str]:
    faces = data.load(data_dir, cache_dir, "val")
    looks = _second_looks(Engine())
    rows: dict[str, list[Floats]] = {name: [] for name in looks}
    for crops in enlarged(faces, "validation faces"):
        for name, look in looks.items():
            rows[name].append(look(crops))
    return {name: str(judge(np.concatenate(made), faces)) for name, made in rows.items()}


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


def bodies() -> Choice:
    photo = demo_photo(LARGE_PX, GRAIN)
    form = EnvironBuilder(method="POST", data={"photo": (io.BytesIO(photo), "photo.jpg")})
    environ = form.get_environ()
    written, form_type = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]

    def read_body() -> bytes:
        body = EnvironBuilder(method="POST", data=photo, content_type="image/jpeg")
        return Request(body.get_environ()).get_data(cache=False)

    def read_form() -> bytes:
        sent = EnvironBuilder(method="POST", data=written, content_type=form_type)
        return bytes(Request(sent.get_environ()).files["photo"].read())

    return timed(
        f"Flask reads a photo of {len(photo) / 1e6:.1f} MB that the gateway sends",
        {"as the body (kept)": read_body, "as a form": read_form},
        "As the body; the form also had to be written.",
    )


def _installed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        print(f"{module} is not installed: not compared.")
        return None


def write(choices: Sequence[Choice], measured_on: str) -> None:
    source = asdict(provenance(measured_on, SEED))
    document = {"choices": [asdict(choice) for choice in choices], **source}
    (REPORTS / "choices.json").write_text(json.dumps(document, indent=2) + "\n")
    told = ", ".join(f"{key} {value}" for key, value in source.items() if key != "command")
    lines = [
        "# Tried on the way of a photo",
        "",
        f"`{source['command']}`: {told}. One thread, medians of {ROUNDS} turns.",
    ]
    for choice in choices:
        lines += ["", *table_of(choice)]
    (REPORTS / "choices.md").write_text("\n".join(lines) + "\n")


def table_of(choice: Choice) -> list[str]:
    rows = [
        f"| {one.name} | {one.p50_ms:.2f} | {one.ratio:.2f} | {one.note} |" for one in choice.ways
    ]
    head = ["| way | ms | times as long | validation |", "|---|---|---|---|"]
    return [f"## {choice.title}", "", *head, *rows, "", choice.verdict]


if __name__ == "__main__":
    main()
