"""Training of the base and the heatmap network: one loop, resumable after any step.

A run lives in one folder: config.toml (a copy), checkpoint.pt (replaced atomically), log.csv and
measured.csv (on the validation identities), embedded.npz (their faces, at the last measurement).
What a finished run hands on is the running average of its weights.
"""

from __future__ import annotations

import copy
import csv
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from face_models.training import data, starts
from face_models.training.averaging import follow
from face_models.training.checkpoint import CHECKPOINTS_DIR, Trained, load_trained, rebuild
from face_models.training.config import RunConfig, read_config
from face_models.training.gradcam import ExplainedBase
from face_models.training.heatmaps import Heatmaps, precompute
from face_models.training.lesson import Batch, Lesson, Moment, schedule
from face_models.training.losses import (
    ArcFace,
    distillation,
    identity_centres,
    relations,
    together,
)
from face_models.training.measure import EMBEDDED_FILE, embed_set, judge
from face_models.training.network import FaceNetwork, continued, mirrored
from face_models.training.precision import use_bfloat16
from face_models.training.processes import average_gradients, is_first, work_together
from face_models.training.sight import Sight, look
from face_models.training.views import Views, answer_views

CHECKPOINT_FILE = "checkpoint.pt"
CHECKPOINT_EVERY_S = 120
LOG_EVERY_STEPS = 20
MEASURE_EVERY_STEPS = 1000
ADAM_BETAS = (0.9, 0.98)
GRADIENT_NORM = 5.0
IMAGENET = "imagenet"
# networks of this repository, in a run's place
SHIPPED = {"shipped": "base", "shipped-heatmap": "heatmap"}
LABORATORY = "laboratory"

Forward = Callable[[Tensor, Tensor | None], Tensor]


@dataclass
class Learner:
    """What a checkpoint holds: the network, its running average, the optimiser, the step.

    `forward` is the network, compiled where that was asked for.
    """

    config: RunConfig
    network: FaceNetwork
    average: FaceNetwork
    forward: Forward
    arcface: ArcFace
    optimiser: torch.optim.Optimizer
    base: ExplainedBase | None  # fixed; makes the fourth channel of the heatmap network
    step: int = 0

    def sight(self, rgb: Tensor) -> Sight | None:
        """What the base network tells the heatmap network; None for a base network itself."""
        if self.base is None:
            return None
        return look(self.base, rgb, self.config.heat)

    def save(self, run_dir: Path) -> None:
        partial = run_dir / (CHECKPOINT_FILE + ".partial")
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "arcface": self.arcface.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "backbone": self.config.backbone,
        }
        torch.save(state, partial)
        partial.rename(run_dir / CHECKPOINT_FILE)

    def resume(self, run_dir: Path) -> None:
        if not (run_dir / CHECKPOINT_FILE).exists():
            return
        state = torch.load(run_dir / CHECKPOINT_FILE, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.arcface.load_state_dict(state["arcface"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


@dataclass(frozen=True)
class Pace:
    """How the machine's strength is used: it changes a run's speed and roundings, not its lesson.

    `processes`: that share every batch, of `threads` threads each; their number changes the views.
    `compiled`: by torch.compile, which needs a C++ compiler; worth a sixth at 112 px on a CPU.
    `bfloat16`: mixed precision, for processors that multiply it faster (precision.py).
    """

    threads: int = 2
    processes: int = 1
    compiled: bool = False
    bfloat16: bool = False


def train(
    config_path: Path,
    data_dir: Path,
    run_dir: Path,
    pace: Pace | None = None,
    *,
    seed: int | None = None,
) -> Path:
    """Train, or go on training, the run in `run_dir`; answers the checkpoint's path.

    `seed`: instead of the config's.
    """
    config = read_config(config_path)
    config = config if seed is None else replace(config, seed=seed)
    run_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config_path, run_dir / "config.toml")
    how = Workshop(data_dir, run_dir, pace or Pace())
    _caches(config, how)  # filled once, before several processes would
    work_together(how.pace.processes, _work, config, how)
    return run_dir / CHECKPOINT_FILE


@dataclass(frozen=True)
class Workshop:
    """Where and how a process works."""

    data_dir: Path
    run_dir: Path
    pace: Pace

    @property
    def cache_dir(self) -> Path:
        return self.run_dir.parent / "cache"


def _caches(config: RunConfig, how: Workshop) -> tuple[data.FaceSet, Views | None]:
    """The faces to learn from, and the views of them that the teacher has answered."""
    faces = data.load(how.data_dir, how.cache_dir, "train", config.min_photos, config.max_photos)
    if not any(stage.views_share > 0 for stage in config.stages):
        return faces, None
    return faces, answer_views(faces, config.views, how.data_dir, how.cache_dir)


def _work(config: RunConfig, how: Workshop) -> None:
    torch.set_num_threads(how.pace.threads)
    cv2.setNumThreads(how.pace.threads)
    torch.manual_seed(config.seed)
    faces, views = _caches(config, how)
    validation = data.load(how.data_dir, how.cache_dir, "val", config.min_photos)
    learner = _new_learner(config, faces, how)
    learner.resume(how.run_dir)
    heatmaps = _heatmaps(learner, faces, how.cache_dir)
    _learn(learner, Lesson(config, faces, views, heatmaps), validation, how.run_dir)
    if is_first():
        learner.save(how.run_dir)


def load_run(run_dir: Path) -> Trained:
    """The averaged network of a run as far as it has come, in evaluation mode."""
    state = torch.load(run_dir / CHECKPOINT_FILE, weights_only=True)
    return rebuild(state["backbone"], state["average"], state["arcface"]["centres"])


def _new_learner(config: RunConfig, faces: data.FaceSet, how: Workshop) -> Learner:
    runs_dir = how.run_dir.parent
    base = _trained(config.base_run, runs_dir).explained() if config.base_run else None
    network = _new_network(config, how.data_dir, runs_dir)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    identity = torch.from_numpy(faces.identity)
    centres = identity_centres(torch.from_numpy(faces.teacher), identity, faces.identities)
    settings = config.loss
    arcface = ArcFace(centres, settings.arcface_scale, settings.arcface_margin_rad)
    optimiser = torch.optim.AdamW(
        network.parameters(), betas=ADAM_BETAS, weight_decay=config.weight_decay
    )
    average = copy.deepcopy(network).eval()
    if how.pace.bfloat16:
        for quickened in (network, *([base.network] if base else [])):
            use_bfloat16(quickened)
    forward: Forward = torch.compile(network) if how.pace.compiled else network
    return Learner(config, network, average, forward, arcface, optimiser, base)


def _new_network(config: RunConfig, data_dir: Path, runs_dir: Path) -> FaceNetwork:
    """From another run's network, else from the backbone's weights, else from nothing."""
    start_run = config.start_run or config.base_run
    if start_run:
        start = _start(start_run, config.backbone, runs_dir)
        enters = config.heat.enters if config.base_run else "nowhere"
        return continued(
            start,
            config.backbone,
            4 if enters == "channel" else 3,
            attends=enters == "attention",
            branches=enters == "branch",
        )
    if config.init == IMAGENET:
        return FaceNetwork(config.backbone, weights="DEFAULT")
    network = FaceNetwork(config.backbone)
    if config.init:
        network.trunk.load_state_dict(load_file(data_dir / config.init), strict=False)
    return network


def _start(name: str, backbone: str, runs_dir: Path) -> FaceNetwork:
    if name != LABORATORY:
        return _trained(name, runs_dir).network
    network = FaceNetwork(backbone)
    starts.start_from(network, starts.file_of(backbone))
    return network


def _trained(name: str, runs_dir: Path) -> Trained:
    if name in SHIPPED:
        return load_trained(CHECKPOINTS_DIR / f"{SHIPPED[name]}.safetensors")
    return load_run(runs_dir / name)


def _heatmaps(learner: Learner, faces: data.FaceSet, cache_dir: Path) -> Heatmaps | None:
    if learner.base is None or not learner.config.precomputed_heatmaps:
        return None
    return precompute(learner.base, faces, cache_dir, learner.config.stages[-1].input_px)


def _learn(learner: Learner, lesson: Lesson, validation: data.FaceSet, run_dir: Path) -> None:
    moments = schedule(learner.config.stages)
    saved_at, silent = time.monotonic(), not is_first()
    bar = tqdm(total=len(moments), initial=learner.step, unit="step", mininterval=5, disable=silent)
    with bar:
        for moment in moments[learner.step :]:
            losses = _step(learner, lesson.batch(learner.step, moment), moment.learning_rate)
            learner.step += 1
            if silent:
                continue
            bar.update()
            if learner.step % LOG_EVERY_STEPS == 0:
                _log(run_dir / "log.csv", learner.step, {"px": moment.stage.input_px, **losses})
                bar.set_postfix({"px": moment.stage.input_px, **losses})
            if learner.step % MEASURE_EVERY_STEPS == 0 or learner.step == len(moments):
                _measure(learner, validation, moment, run_dir)
            if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                learner.save(run_dir)
                saved_at = time.monotonic()


def _step(learner: Learner, batch: Batch, learning_rate: float) -> dict[str, float]:
    """One update; answers what it cost, and the learning rate."""
    weights = asdict(learner.config.loss)
    sight = learner.sight(batch.rgb)
    learner.network.train()
    if sight is None:
        embedding = learner.forward(batch.rgb, None)
    else:
        heat = sight.heat if batch.heat is None else batch.heat
        embedding = learner.forward(mirrored(batch.rgb), mirrored(heat))
    costs = {
        "distillation": distillation(embedding, batch.teacher),
        "relations": relations(embedding, batch.teacher),
        "arcface": learner.arcface(embedding, batch.identity),
    }
    if sight is not None:
        costs["together"] = distillation(together(embedding, sight.embedding), batch.teacher)
    _update(learner, sum((weights[name] * cost for name, cost in costs.items())), learning_rate)
    return {name: round(cost.item(), 5) for name, cost in costs.items()} | {"rate": learning_rate}


def _update(learner: Learner, loss: Tensor, learning_rate: float) -> None:
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    average_gradients(learner.network.parameters())
    torch.nn.utils.clip_grad_norm_(learner.network.parameters(), GRADIENT_NORM)
    learner.optimiser.step()
    follow(learner.average, learner.network, learner.step, learner.config.ema_decay)


def _measure(learner: Learner, faces: data.FaceSet, moment: Moment, run_dir: Path) -> None:
    """Log how far the average has come, and keep its embeddings, to be compared with others'."""
    embedded = embed_set(learner.average, learner.sight, faces, moment.stage.input_px)
    np.savez(run_dir / EMBEDDED_FILE, allow_pickle=False, **embedded)
    for form, vectors in embedded.items():
        figures = judge(vectors, faces)
        _log(run_dir / "measured.csv", learner.step, {"form": form, **asdict(figures)})
        tqdm.write(f"step {learner.step}, {form}: {figures}")


def _log(path: Path, step: int, values: Mapping[str, object]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, ["step", *values])
        if is_new:
            writer.writeheader()
        writer.writerow({"step": step, **values})
