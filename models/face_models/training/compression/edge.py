"""Weights folders for the edge: every plan tried on validation faces, the best one exported.

A folder of either form is complete: detector, landmarks and quality are copied, model.json
describes what lies there, and calibration.json is measured anew: similarities move with rounding.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.engine import HEATMAP_INPUTS, open_session
from face_models.spec import MODEL_NAMES, load_specs, write_specs
from face_models.training.compression.half import halve
from face_models.training.compression.latency import Latency, race
from face_models.training.compression.quantise import PLANS, Feed, Plan, quantise
from face_models.training.data import FaceSet
from face_models.training.evaluation.evaluate import identity_scores, verify_identities
from face_models.training.provenance import Provenance

FLOAT32, INT8, FLOAT16 = "float32", "int8", "float16"
NOT_COPIED = ("base.onnx", "heatmap.onnx", "model.json", "calibration.json", "MODEL_CARD.md")
INPUT_PX = 224
BATCH = 16
ALLOWED_AUC_LOSS = 0.0005
ALLOWED_HEATMAP_DIFFERENCE = 0.03  # of a map's range 0..1: below what an eye sees in an overlay
PLAN_ROUNDS = 100
ALIKE = 1.05  # times this much longer is still as fast: repeated races differ by less

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Faces as RGB (n, 3, 224, 224), 0..255.

    `calibration`: training faces that ranges are seen on. `validation`: all faces of some people,
    numbered in `identity`, that plans are judged by.
    """

    calibration: Floats
    validation: Floats
    identity: NDArray[np.int64]


@dataclass(frozen=True)
class Fidelity:
    """One graph on the validation sample.

    `agreement`: mean cosine with float32's embedding of the same face. `heatmap_difference`: mean
    absolute one to float32's map, where the graph draws one. `time`: of one face on one thread,
    over float32's.
    """

    plan: str
    bytes: int
    auc: float
    eer: float
    agreement: float
    heatmap_difference: float | None
    time: float
    chosen: bool = False


@dataclass(frozen=True)
class Answers:
    embedding: Floats  # (n, 128)
    maps: Floats | None  # (n, 1, 224, 224)


def draw_samples(
    training: FaceSet, validation: FaceSet, *, seed: int, calibration: int = 192, people: int = 150
) -> Samples:
    random = np.random.default_rng(seed)
    seen = random.choice(len(training), min(calibration, len(training)), replace=False)
    judges = random.permutation(validation.identities)[:people]
    rows = np.flatnonzero(np.isin(validation.identity, judges))
    return Samples(_planes(training, seen), _planes(validation, rows), validation.identity[rows])


def _planes(faces: FaceSet, rows: NDArray[np.int64]) -> Floats:
    side = (INPUT_PX, INPUT_PX)
    large = np.stack([cv2.resize(face, side) for face in faces.images(rows)])
    return np.ascontiguousarray(large.transpose(0, 3, 1, 2), dtype=np.float32)


def export_forms(
    weights_dir: Path, out_dir: Path, samples: Samples, plans: Sequence[Plan] = PLANS
) -> dict[str, list[Fidelity]]:
    """Both networks in int8 and float16 below `out_dir`; what was measured, by network.

    The heatmap network is judged on the maps of the base network that lies beside it.
    """
    for form in (INT8, FLOAT16):
        (out_dir / form).mkdir(parents=True, exist_ok=True)
        for file in weights_dir.iterdir():
            if file.is_file() and file.name not in NOT_COPIED:
                shutil.copyfile(file, out_dir / form / file.name)
    return {
        network: _Workbench(network, weights_dir, out_dir, samples).export(plans)
        for network in MODEL_NAMES
    }


@dataclass(frozen=True)
class _Workbench:
    """One network on its way into both forms."""

    network: str
    weights_dir: Path
    out_dir: Path
    samples: Samples

    def export(self, plans: Sequence[Plan]) -> list[Fidelity]:
        source = self.weights_dir / f"{self.network}.onnx"
        exact = self._answers(source, self.weights_dir)
        float32 = self._judge(source, self.weights_dir, exact, FLOAT32, 1.0)
        half = self.out_dir / FLOAT16 / source.name
        halve(source, half)
        (time,) = self._times(source, [half])
        float16 = self._judge(half, half.parent, exact, FLOAT16, time)
        return [float32, float16, *self._export_int8(source, exact, float32.auc, plans)]

    def _export_int8(
        self, source: Path, exact: Answers, float_auc: float, plans: Sequence[Plan]
    ) -> list[Fidelity]:
        folder = self.out_dir / INT8
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch) / f"{number}.onnx" for number in range(len(plans))]
            for file, plan in zip(files, tqdm(plans, f"{self.network}: plans"), strict=True):
                quantise(source, file, plan, self._feeds(self.samples.calibration, folder))
            times = self._times(source, files)
            measured = [
                self._judge(file, folder, exact, str(plan), time)
                for file, plan, time in zip(files, plans, times, strict=True)
            ]
            best = choose(measured, float_auc)
            shutil.copyfile(files[best], folder / source.name)
        measured[best] = replace(measured[best], chosen=True)
        return measured

    def _times(self, source: Path, files: Sequence[Path]) -> list[float]:
        """Each one's time for one face over that of `source`."""
        feed = next(self._feeds(self.samples.validation[:1], self.weights_dir))
        graphs = {str(file): open_session(file, 1) for file in (source, *files)}
        speed = race(graphs, feed, PLAN_ROUNDS)
        return [speed[str(file)].ratio for file in files]

    def _judge(self, file: Path, folder: Path, exact: Answers, plan: str, time: float) -> Fidelity:
        here = self._answers(file, folder)
        figures = verify_identities(identity_scores(here.embedding, self.samples.identity))
        difference = None
        if here.maps is not None and exact.maps is not None:
            difference = round(float(np.abs(here.maps - exact.maps).mean()), 5)
        return Fidelity(
            plan=plan,
            bytes=file.stat().st_size,
            auc=round(figures.auc, 5),
            eer=round(figures.eer, 5),
            agreement=round(float((here.embedding * exact.embedding).sum(axis=1).mean()), 5),
            heatmap_difference=difference,
            time=time,
        )

    def _answers(self, file: Path, folder: Path) -> Answers:
        session = open_session(file, threads=1)
        outputs = ["embedding", "heatmap"] if self.network == "base" else ["embedding"]
        feeds = self._feeds(self.samples.validation, folder)
        parts = [session.run(outputs, dict(feed)) for feed in feeds]
        answers = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return Answers(answers[0], answers[1] if len(answers) > 1 else None)

    def _feeds(self, planes: Floats, folder: Path) -> Iterator[Feed]:
        """What the network reads; the heatmap network also what `folder`'s base network answers."""
        batches = (planes[start : start + BATCH] for start in range(0, len(planes), BATCH))
        if self.network == "base":
            return ({"rgb": rgb} for rgb in batches)
        base = open_session(folder / "base.onnx", 1)
        asked = inputs_of(self.weights_dir / "heatmap.onnx")
        return (heatmap_feed(base, rgb, asked) for rgb in batches)


def inputs_of(file: Path) -> list[str]:
    return [given.name for given in onnx.load(file, load_external_data=False).graph.input]


def heatmap_feed(base: onnxruntime.InferenceSession, rgb: Floats, asked: Sequence[str]) -> Feed:
    """The inputs `asked` for by the heatmap network, in whichever of its forms."""
    embedding, maps = base.run(["embedding", "heatmap"], {"rgb": rgb})
    known = dict(zip(HEATMAP_INPUTS, (rgb, maps, embedding), strict=True))
    return {name: known[name] for name in asked}


def choose(measured: Sequence[Fidelity], float_auc: float) -> int:
    """The place of the fastest graph that keeps AUC and heatmap; else of the highest AUC.

    Of those that are as fast as it, the one that agrees best with float32.
    """
    kept = [
        place
        for place, graph in enumerate(measured)
        if graph.auc >= float_auc - ALLOWED_AUC_LOSS
        and (graph.heatmap_difference or 0) <= ALLOWED_HEATMAP_DIFFERENCE
    ]
    if not kept:
        return max(range(len(measured)), key=lambda place: measured[place].auc)
    fastest = min(measured[place].time for place in kept)
    fast = [place for place in kept if measured[place].time <= ALIKE * fastest]
    return max(fast, key=lambda place: measured[place].agreement)


def describe(
    weights_dir: Path, out_dir: Path, measured: dict[str, list[Fidelity]], source: Provenance
) -> None:
    """model.json of both folders: how each graph came from which float32 one."""
    specs = load_specs(weights_dir)
    for form in (INT8, FLOAT16):
        compressed = {
            network: {
                **specs.training[network],
                "compression": {
                    "form": form,
                    "plan": next(f.plan for f in graphs if f.chosen) if form == INT8 else FLOAT16,
                    "of_sha256": specs.models[network].sha256,
                    **asdict(source),
                },
            }
            for network, graphs in measured.items()
        }
        write_specs(out_dir / form, {**specs.training, **compressed})


def latencies(weights_dir: Path, out_dir: Path, face: Floats) -> dict[str, dict[str, Latency]]:
    """By network and form; one face (1, 3, 224, 224), one thread."""
    folders = {FLOAT32: weights_dir, INT8: out_dir / INT8, FLOAT16: out_dir / FLOAT16}
    base = open_session(weights_dir / "base.onnx", 1)
    feeds: dict[str, Feed] = {
        "base": {"rgb": face},
        "heatmap": heatmap_feed(base, face, inputs_of(weights_dir / "heatmap.onnx")),
    }
    return {
        network: race(
            {form: open_session(path / f"{network}.onnx", 1) for form, path in folders.items()},
            feeds[network],
        )
        for network in MODEL_NAMES
    }
