"""Masked faces from data to report, on a data set that is made up: every step, in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from face_models.align import TEMPLATE_112
from face_models.cli import main
from face_models.extras import Extras
from face_models.spec import load_specs
from face_models.training.restored import faces as who
from face_models.training.restored import words
from face_models.training.restored.settings import read_run
from face_models.training.restored.train import train
from face_models.training.restored.trained import load_run
from face_models.training.restored.treated import TREATMENTS

pytestmark = pytest.mark.training

PEOPLE = Path(__file__).parents[3] / "data" / "people"
TRAINING = """
[training]
seed = 1
batch = 4
steps = 3
minutes = 5.0
learning_rate = 1e-3
weight_decay = 0.01
warmup_steps = 1
ema_decay = 0.9
measure_every = 2
"""
AGE = """
masked_share = 0.5
mean_weight = 0.2
variance_weight = 0.05
input_px = 32
"""
CONFIGS = {
    "region": """
kind = "region"
[region]
widths = [4, 8, 8]
masked_share = 0.5
covered_share = 0.2
worse_share = 0.4
""",
    "restoration": """
kind = "restoration"
[restoration]
widths = [4, 8, 8]
deep = 1
identity_weight = 0.2
identity_share = 0.5
most_dilation_px = 2
""",
    "age-head": f'kind = "age"\n[age]\nway = "head"\n{AGE}',
    "age-tuned": f'kind = "age"\n[age]\nway = "tuned"\n{AGE}',
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Every run of three steps, by the command that a user types."""
    folder = tmp_path_factory.mktemp("restored")
    with pytest.MonkeyPatch.context() as patch:
        more_judges(patch)
        for name, settings in CONFIGS.items():
            config = folder / f"{name}.toml"
            config.write_text(f'name = "{name}"\n{settings}\n{TRAINING}')
            folders = ["--data", str(data_dir), "--runs", str(folder)]
            main(["restored", "train", str(config), "--threads", "1", *folders])
    return folder


def more_judges(patch: pytest.MonkeyPatch) -> None:
    """Of so few photos a tenth may be none."""
    patch.setattr(who, "CHOOSING", 0.3)
    patch.setattr(who, "REPORTING", 0.3)


def test_a_run_leaves_its_curves_and_a_network_that_answers(runs: Path) -> None:
    run, network = load_run(runs / "region")

    assert run == read_run(runs / "region.toml")
    assert not network.training
    assert len((runs / "region" / "region-measured.csv").read_text().splitlines()) == 3


def test_exported_graphs_tell_a_face_more_where_it_is_asked_for(
    runs: Path, data_dir: Path, weights: Path
) -> None:
    command = ["restored", "export", "--age", "age-head", "--weights", str(weights)]
    main([*command, "--data", str(data_dir), "--runs", str(runs)])
    specs = load_specs(weights)
    extras = Extras.load(("region", "age"), specs, weights, threads=1)
    crop = np.full((224, 224, 3), 120, dtype=np.uint8)

    told = extras.tell(crop, TEMPLATE_112)

    assert set(specs.extras) == {"region", "age"}
    assert told.age_years is not None
    assert 0 <= told.age_years <= 116


def test_training_goes_on_where_it_stopped(
    runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_judges(monkeypatch)
    shutil.copytree(runs / "cache", tmp_path / "cache")
    config = tmp_path / "region.toml"
    whole = (runs / "region.toml").read_text()
    config.write_text(whole.replace("steps = 3", "steps = 2"))
    train(config, data_dir, tmp_path, threads=1)
    config.write_text(whole)
    resumed = torch.load(train(config, data_dir, tmp_path, threads=1), weights_only=True)

    assert resumed["step"] == 3
    assert resumed["seconds"] > 0


def test_the_report_tells_every_treatment_of_every_network(
    runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_judges(monkeypatch)
    command = ["restored", "evaluate", "--replicates", "20", "--people", str(PEOPLE)]
    folders = ["--data", str(data_dir), "--runs", str(runs)]
    told = tmp_path / "restored.json"
    for part in ("people", "ages"):
        main([*command, *folders, "--part", part, "--report", str(told)])
    document = json.loads(told.read_text())
    words_told = told.with_suffix(".md").read_text()

    assert list(document) == ["people", "ages"]
    assert set(document["ages"]["networks"]) == {"age-head", "age-tuned"}
    for network in ("base", "heatmap"):
        assert set(TREATMENTS) < set(document["people"]["match"][network]["figures"])
    assert "| original |" in words_told
    assert "4.47" in words_told
    assert told.with_suffix(".png").stat().st_size > 10_000


def test_ages_without_a_network_that_tells_them_are_refused_in_one_line(
    runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_judges(monkeypatch)
    for name in ("cache", "region", "restoration"):
        shutil.copytree(runs / name, tmp_path / name)
    command = ["restored", "evaluate", "--part", "ages", "--report", str(tmp_path / "r.json")]

    with pytest.raises(SystemExit, match="no trained age network"):
        main([*command, "--data", str(data_dir), "--runs", str(tmp_path)])


def matched(rank_1: tuple[float, float], auc: tuple[float, float]) -> dict:
    intervals = {"restored - masked": {"rank_1": list(rank_1), "auc": list(auc)}}
    return {"heatmap": {"intervals": intervals}}


@pytest.mark.parametrize(
    ("rank_1", "auc", "helps"),
    [
        ((0.01, 0.03), (0.001, 0.002), True),
        ((-0.01, 0.03), (0.001, 0.002), False),
        ((0.01, 0.03), (-0.002, -0.001), False),
    ],
)
def test_restoration_helps_only_where_both_figures_are_shown_to_rise(
    rank_1: tuple[float, float], auc: tuple[float, float], *, helps: bool
) -> None:
    assert words.restoration_helps(matched(rank_1, auc)) is helps


def test_the_sentences_follow_from_the_figures() -> None:
    """A figure whose interval holds zero is not called shown."""
    figures = {name: {"rank_1": 0.5, "auc": 0.9} for name in TREATMENTS}
    unsure = {"rank_1": [-0.1, 0.1], "auc": [0.01, 0.02]}
    intervals = {"restored - masked": unsure, "restored - mean face": {"rank_1": [-0.2, -0.1]}}

    (told,) = words.about_match({"heatmap": {"figures": figures, "intervals": intervals}})

    assert "is not shown to change rank-1 (0.500 to 0.500) and raises AUC" in told
    assert "mean face in the same hole it lowers rank-1" in told
