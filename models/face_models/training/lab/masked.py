"""The study of masked faces as a part of the laboratory: its runs and figures lie on the shelf."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from face_models.spec import WEIGHTS_DIR, load_specs, read_json, sha256_of, write_json
from face_models.training.checkpoint import CHECKPOINTS_DIR
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.lab.bench import Bench
from face_models.training.lab.shelf import Artefact
from face_models.training.restored.evaluate import evaluate
from face_models.training.restored.request import Request
from face_models.training.restored.settings import read_run
from face_models.training.restored.train import train
from face_models.training.restored.trained import Restoration, load_restoration

FIGURES_FILE: Final = "figures.json"
RUNS: Final = "runs"
MOST_DRAWS: Final = 300  # each sorts the scores of all pairs anew

Numbers = dict[str, Any]


def network(bench: Bench, config: Path) -> Artefact:
    """One run, as `face-models restored train` makes it."""
    made_of = {
        "config": config.read_text(encoding="utf-8"),
        "base": sha256_of(CHECKPOINTS_DIR / "base.safetensors"),
        "faces": bench.faces_of(bench.config.studies[0]).fingerprint,
    }

    def make(into: Path) -> None:
        faces = bench.faces_of(bench.config.studies[0])
        train(config, faces.data, into, bench.threads, faces.cache)

    return bench.shelf.take(f"masked-{read_run(config).name}", made_of, make)


def figures(bench: Bench) -> Numbers:
    """What `face-models restored evaluate` measures."""
    return dict(read_json(_judged(bench).folder / FIGURES_FILE))


def restoration(bench: Bench) -> Restoration:
    return load_restoration(_judged(bench).folder / RUNS)


def _judged(bench: Bench) -> Artefact:
    runs = [network(bench, config) for config in bench.config.restored]
    specs = load_specs(WEIGHTS_DIR).models
    draws = min(bench.config.bootstrap_draws, MOST_DRAWS)
    resampling = Resampling(draws, bench.config.seed)
    made_of = {
        "runs": [run.fingerprint for run in runs],
        "weights": {name: spec.sha256 for name, spec in specs.items()},
        "draws": resampling.replicates,
        "seed": resampling.seed,
    }

    def make(into: Path) -> None:
        for run, config in zip(runs, bench.config.restored, strict=True):
            name = read_run(config).name
            shutil.copytree(run.folder / name, into / RUNS / name, dirs_exist_ok=True)
        faces = bench.faces_of(bench.config.studies[0])
        request = Request(
            data=faces.data,
            runs=into / RUNS,
            resampling=resampling,
            threads=bench.threads,
            cache=faces.cache,
        )
        write_json(into / FIGURES_FILE, evaluate(request))

    return bench.shelf.take("masked-figures", made_of, make)
