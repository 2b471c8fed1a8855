"""`face-models lab run` on drawn people: every table and figure, and nothing made twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from face_models.cli import main
from face_models.training import starts
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab import (
    answers,
    bench,
    learning,
    lfw,
    maps,
    masked,
    report,
    tables,
)
from face_models.training.lab.arms import ARMS
from face_models.training.lab.ready import check
from face_models.training.lab.settings import read_config

pytestmark = pytest.mark.training

CONFIGS = Path(__file__).parents[4] / "models" / "configs" / "lab"
STUDY = """
[[studies]]
name = "one"
source = "drawn"
backbones = ["shufflenet_v2_x1_0"]
seeds = [1]
lesson = {epochs = 1}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def written(runs: Path) -> Path:
    """The folder of smoke.toml's report."""
    _run(runs)
    return runs / "report"


def _run(runs: Path) -> None:
    config, people = str(CONFIGS / "smoke.toml"), str(CONFIGS.parents[2] / "tests/data/people")
    folders = ["--data", str(runs / "no-data"), "--runs", str(runs)]
    into = ["--report", str(runs / "report"), "--people", people, "--threads", "1"]
    main(["lab", "run", "--config", config, *folders, *into])


def test_the_report_holds_every_table_and_figure(written: Path) -> None:
    told = (written / "report.md").read_text()
    for title in (
        "What is shown, and what is not", "Table 1", "Figure 3: severity", "Table 2", "Convergence",
        "Figures 4 to 6: LFW", "Figure 2: where the network looks", "Occlusion, restored",
    ):  # fmt: skip
        assert title in told, title
    pictures = {line.split("(")[1][:-1] for line in told.splitlines() if line.startswith("![")}
    assert len(pictures) == 11
    assert {name for name in pictures if not (written / name).is_file()} == set()
    assert "AUC 0.8372, EER 0.2435" in told
    assert "not at hand" in told


def test_the_document_holds_every_arm_backbone_seed_and_condition(written: Path) -> None:
    document = json.loads((written / "report.json").read_text())
    study = document["studies"]["drawn"]
    assert set(study["networks"]) == set(study["forms"]) == set(document["lfw"]["networks"])
    assert set(study["networks"]["shufflenet_v2_x1_0"]) == set(ARMS)
    for by_arm in study["networks"].values():
        assert set(by_arm["heatmap"]["curves"]) == {"1", "2"}
        assert len(by_arm["heatmap"]["severities"]) == 13
        assert set(by_arm["heatmap"]["slopes"]) == {
            "occlusion", "gaussian noise", "brightness, darker", "brightness, brighter",
        }  # fmt: skip
    assert {"commit", "machine", "command", "seed"} <= set(document["provenance"])


def test_a_second_run_makes_nothing_anew(
    written: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted((runs / "lab").iterdir())
    monkeypatch.setattr(learning, "learn", None)
    monkeypatch.setattr(learning, "precompute", None)
    monkeypatch.setattr(answers, "predict", None)
    monkeypatch.setattr(lfw, "keep_scores", None)
    monkeypatch.setattr(maps, "faithfulness", None)
    monkeypatch.setattr(bench, "keep_photos", None)
    monkeypatch.setattr(masked, "train", None)
    monkeypatch.setattr(masked, "evaluate", None)
    (written / "report.md").unlink()
    _run(runs)
    assert sorted((runs / "lab").iterdir()) == before
    assert (written / "report.md").is_file()


def test_the_study_of_masked_faces_is_part_of_the_run(written: Path) -> None:
    document = json.loads((written / "report.json").read_text())["restored"]
    assert set(document["people"]["match"]) == {"base", "heatmap", "teacher"}
    assert set(document["ages"]["networks"]) == {"age-head"}
    assert f"({report.RESTORED})" in (written / "report.md").read_text()
    assert "| original |" in (written / report.RESTORED).read_text()


def test_the_plan_tells_photos_and_minutes_of_every_backbone(
    written: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folders = str(CONFIGS / "smoke.toml"), ["--data", str(written), "--runs", str(runs)]
    main(["lab", "plan", "--config", config, *folders, "--threads", "1"])
    lines = capsys.readouterr().out.strip().splitlines()[2:]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == [
        "shufflenet_v2_x1_0", "mobilenet_v3_large", "efficientnet_b0", "teacher", "masked faces",
        "all",
    ]  # fmt: skip
    learnt = 2 * (12 * 2 * 2)  # of either arm: photos, epochs, seeds
    assert lines[1].split(" | ")[1].startswith(f"{learnt} at ")


def test_a_figure_of_the_paper_stands_where_the_config_holds_it() -> None:
    document = {"settings": {"published": {"table1/yaleb/base": 0.5}}}
    assert tables.published(document, "table1", "yaleb", "base") == "0.5000"
    assert tables.published(document, "table1", "yaleb", "heatmap") == "not at hand"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "a"\ninput_px = 64\n', "no \\[\\[studies\\]\\]"),
        ('name = "a"\ninput_px = 64\ncolour = 1\n' + STUDY, "LabConfig has no key colour"),
        ('name = "a"\n' + STUDY, "input_px"),
        (
            'name = "a"\ninput_px = 64\nlfw = "l"\nlfw_study = "two"\n' + STUDY,
            "lfw_study is one of one",
        ),
        ('name = "a"\ninput_px = 64\n' + STUDY + 'start_study = "one"\n', "none yet, not 'one'"),
        ('name = "a"\ninput_px = 64\n' + STUDY + 'beyond = ["magic"]\n', "arm of one is one of"),
        (
            'name = "a"\ninput_px = 64\n' + STUDY.replace("shufflenet_v2_x1_0", "resnet"),
            "backbone of one is one of",
        ),
        ('name = "a"\ninput_px = 64\n' + STUDY.replace('"drawn"', '"web"'), "source of one"),
        ('name = "a"\ninput_px = 64\nrestored = ["no.toml"]\n' + STUDY, "restored: .*no.toml"),
        (
            'name = "a"\ninput_px = 64\n' + STUDY.replace("epochs = 1", "epoch = 1"),
            "Lesson has no key epoch",
        ),
        ('name = "a"\ninput_px = 0\n' + STUDY, "input_px is a whole number from 1 on, not 0"),
        ('name = "a"\ninput_px = "64"\n' + STUDY, "input_px is a whole number"),
        ('name = "a"\ninput_px = 64\nlfw_study = "one"\n' + STUDY, "lfw and lfw_study, or neither"),
        ('name = "a"\ninput_px = 64\n' + STUDY + STUDY, "names of studies: one, one has one twice"),
        ('name = "a"\ninput_px = 64\n' + STUDY.replace("[1]", "[1, 1]"), "seeds of one: 1, 1"),
        ('name = "a"\ninput_px = 64\n' + STUDY.replace("[1]", "[]"), "seeds of one is a list"),
        ('name = "a"\ninput_px = 64\n' + STUDY.replace("[1]", "1"), "seeds of one is a list"),
        ('name = "a"\ninput_px = 64\n' + STUDY + 'beyond = ["blind"]\n', "or neither"),
        ('name = "a"\ninput_px = 64\n' + STUDY + 'beyond = ["heatmap"]\n', "arm of one is one of"),
        (
            'name = "a"\ninput_px = 64\n' + STUDY + 'beyond = ["noisy-heatmap"]\n',
            "who draws for noisy-heatmap of one",
        ),
        (
            'name = "a"\ninput_px = 64\n' + STUDY.replace("epochs = 1", "epochs = 0"),
            "epochs of one is a whole number",
        ),
        ("name = ", "wrong.toml"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(UnusableInput, match=complaint):
        read_config(tmp_path / "wrong.toml")


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.toml")))
def test_a_shipped_config_is_read_and_has_the_papers_three_backbones(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.toml")
    assert config.name == name
    assert len(config.studies[0].backbones) == 3


def test_masked_faces_need_a_network_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "region.toml").write_text((CONFIGS / "smoke-restored/region.toml").read_text())
    text = 'name = "a"\ninput_px = 64\nrestored = ["region.toml"]\n' + STUDY
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(UnusableInput, match="no run of kind age, restoration"):
        read_config(tmp_path / "wrong.toml")


def test_what_is_missing_is_told_before_anything_is_learnt(tmp_path: Path) -> None:
    study = STUDY.replace('"drawn"', '"yaleb"') + 'start = {shufflenet_v2_x1_0 = "no-such-file"}\n'
    lists = 'lfw = "lfw"\nlfw_study = "one"\n'
    (tmp_path / "wrong.toml").write_text(f'name = "a"\ninput_px = 64\n{lists}{study}')
    told = bench.Bench(
        read_config(tmp_path / "wrong.toml"), bench.Folders(tmp_path, tmp_path / "runs"), 1
    )
    with pytest.raises(UnusableInput, match=r"no-people.*pairs\.csv.*no-such-file: not there"):
        check(told, tmp_path / "no-people")
    assert not (tmp_path / "runs").exists()


def test_a_start_that_nobody_has_kept_yet_is_told_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "file_of", lambda name: tmp_path / f"{starts.PREFIX}{name}")
    study = STUDY.replace('"drawn"', '"yaleb"') + 'start = {shufflenet_v2_x1_0 = "distilled"}\n'
    (tmp_path / "wrong.toml").write_text(f'name = "a"\ninput_px = 64\n{study}')
    told = bench.Bench(
        read_config(tmp_path / "wrong.toml"), bench.Folders(tmp_path, tmp_path / "runs"), 1
    )
    with pytest.raises(UnusableInput, match="face-models lab start"):
        check(told, tmp_path)
