"""Robustness: treatments by photo, failures as errors, drops against clean and a control."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from face_models.cli import main
from face_models.training.evaluation.protocol import Pair, UnusableInput
from face_models.training.evaluation.verification import verify
from face_models.training.robustness.conditions import CONDITIONS, Condition, brighten
from face_models.training.robustness.measure import auc, measure, resampled_aucs, some_pairs
from face_models.training.robustness.photos import (
    AlignedPhotos,
    Treatment,
    load_networks,
    treated,
    treatments,
)
from face_models.training.robustness.report import document, named_folder

PEOPLE = Path(__file__).parents[3] / "data" / "people"

pytestmark = pytest.mark.training

DIM = Condition("brightness", "factor", (0.7, 0.85, 1.15, 1.3), brighten)


def crop_of(photo: str) -> np.ndarray | None:
    """Photo `a3` shows person 3 as grey of a level of its own; `x…` shows nobody."""
    if photo.startswith("x"):
        return None
    return np.full((224, 224, 3), 60 + 12 * int(photo[1:]), np.uint8)


def networks(crops: np.ndarray) -> dict[str, np.ndarray]:
    """`blind` tells a face by its level alone."""
    angle = crops.mean(axis=(1, 2, 3)) / 60
    return {"blind": np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)}


PAIRS = [Pair(0, f"a{n}", f"b{n}", True) for n in range(8)] + [
    Pair(0, f"a{n}", f"b{(n + 3) % 8}", False) for n in range(8)
]


def test_the_first_treatment_is_the_clean_photo_and_every_severity_follows() -> None:
    chosen = treatments()
    assert chosen[0].condition is None
    assert len(chosen) == 1 + sum(len(one.severities) for one in CONDITIONS)


def test_a_spoilt_photo_costs_accuracy_and_the_clean_one_none() -> None:
    found = measure(AlignedPhotos(crop_of, 0), PAIRS, networks, treatments([DIM]))
    clean, *spoilt = found.figures["blind"]
    assert (clean.auc, clean.auc_drop, clean.failures) == (1, 0, 0)
    assert clean.auc_drop_interval == (0, 0)
    assert spoilt[0].auc_drop > 0
    assert spoilt[0].auc_drop_interval[0] <= spoilt[0].auc_drop <= spoilt[0].auc_drop_interval[1]


def test_a_photo_without_a_face_makes_its_pairs_wrong() -> None:
    pairs = [*PAIRS, Pair(0, "a1", "x1", True), Pair(0, "a2", "x1", False)]
    clean = measure(AlignedPhotos(crop_of, 0), pairs, networks, treatments([DIM])[:1])
    figure = clean.figures["blind"][0]
    assert figure.failures == 1
    assert figure.auc < 1


def test_a_photo_suffers_the_same_whatever_else_is_measured() -> None:
    noise = next(one for one in CONDITIONS if one.name == "gaussian noise")
    crop = crop_of("a1")
    one, again, other = (
        treated(crop, (0, 0, 224, 224), Treatment(noise, 0.1), photo, 0)
        for photo in ("a1", "a1", "a2")
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_auc_agrees_with_the_roc() -> None:
    random = np.random.default_rng(1)
    same = np.arange(200) < 80
    scores = np.round(random.normal(size=200) + same, 1)  # with ties
    expected = verify(scores, same, np.zeros(200, np.int64)).auc
    assert auc(scores[same], scores[~same]) == pytest.approx(expected)


def test_draws_of_pairs_are_shared_by_all_treatments() -> None:
    scores = np.random.default_rng(2).normal(size=(1, 60)).repeat(2, axis=0)
    resampled = resampled_aucs(scores, np.arange(60) < 30, seed=0)
    np.testing.assert_array_equal(resampled[0], resampled[1])
    assert resampled[0].std() > 0


def test_some_pairs_are_as_many_of_either_kind() -> None:
    some = some_pairs(PAIRS, 3, seed=1)
    assert [pair.same for pair in some] == [True] * 3 + [False] * 3
    assert some == some_pairs(PAIRS, 3, seed=1)


def test_a_control_that_loses_more_stands_out() -> None:
    def both(crops: np.ndarray) -> dict[str, np.ndarray]:
        blind = networks(crops)["blind"]
        level = crops[:, 0, 0].mean(axis=1) // 1000  # the same vector for everybody, always
        steady = np.stack([1 - level, level], axis=1).astype(np.float32)
        return {"base": steady, "control base": blind}

    found = measure(AlignedPhotos(crop_of, 0), PAIRS, both, treatments())
    excess = document(found, {"control": Path()})["excess_drop"]["control base"]["brightness"]
    assert excess["auc"] > 0
    assert excess["interval"][0] <= excess["auc"] <= excess["interval"][1]


def test_a_folder_with_the_base_graph_alone_is_a_network(tiny_weights, tmp_path, crops) -> None:
    (tmp_path / "base.onnx").write_bytes((tiny_weights / "base.onnx").read_bytes())
    embed = load_networks({"": tiny_weights, "control": tmp_path}, ("base", "heatmap"), 1)
    answers = embed(crops)
    assert set(answers) == {"base", "heatmap", "control base"}
    np.testing.assert_allclose(answers["control base"], answers["base"])


def test_a_compared_folder_has_a_name() -> None:
    assert named_folder("plain=some/dir") == ("plain", Path("some/dir"))
    with pytest.raises(UnusableInput, match="NAME=DIR"):
        named_folder("some/dir")


def test_the_command_writes_figures_tables_and_curves(tmp_path: Path) -> None:
    """Two demo people through the whole pipeline."""
    people = sorted(folder for folder in PEOPLE.iterdir() if folder.is_dir())[:2]
    photos = [sorted(p.relative_to(PEOPLE).as_posix() for p in one.iterdir())[:2] for one in people]
    (a, b), (c, d) = photos
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(f"fold,a,b,same\n0,{a},{b},1\n0,{c},{d},1\n0,{a},{d},0\n0,{c},{b},0\n")
    where = ["--pairs", f"{pairs}", "--images", f"{PEOPLE}", "--threads", "1", "--model", "base"]
    files = {"json": "r.json", "markdown": "r.md", "plot": "r.png"}
    outputs = [part for name, file in files.items() for part in (f"--{name}", f"{tmp_path / file}")]
    main(["robustness", "--whole-pipeline", *where, *outputs])
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["pairs"], report["treated"]) == (4, "photo before detection")
    assert report["networks"]["base"][0]["auc"] == 1
    assert "## Occlusion" in (tmp_path / "r.md").read_text()
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--compare", "folder"], "NAME=DIR"),
        (["--whole-pipeline"], "needs --pairs"),
        (["--pairs", "pairs.csv"], "go together"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(options, said) -> None:
    with pytest.raises(SystemExit, match=said):
        main(["robustness", *options])
