"""Forms of the heatmap side by side: what is compared, what is refused, what counts as shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from face_models.cli import main
from face_models.training import data
from face_models.training.channel.paired import Comparison, Pairs, Ranks, compare
from face_models.training.channel.report import BETTER, NOT_SHOWN, WORSE, verdict
from face_models.training.channel.runs import NotComparable, Vectors, read_runs
from face_models.training.data import NO_IDENTITY
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.verification import verify
from face_models.training.measure import EMBEDDED_FILE
from tools.results import read

pytestmark = pytest.mark.training

PEOPLE, PHOTOS_EACH = 6, 4  # as in the generated data set
IDENTITY = np.repeat(np.arange(PEOPLE), PHOTOS_EACH)
CONFIG = """
name = "channel-any"
backbone = "shufflenet_v2_x1_0"
seed = 1
base_run = "stem"

[heat]
explains = "{explains}"

[[stages]]
input_px = 112
photos = 640
batch = 64
peak_learning_rate = {rate}
"""


def _vectors(seed: int, noise: float, identity: NDArray[np.int64] = IDENTITY) -> Vectors:
    """Unit vectors around one direction a person: the less noise, the easier."""
    random = np.random.default_rng(seed)
    people = random.normal(size=(PEOPLE, 128))
    vectors = people[identity] + noise * random.normal(size=(len(identity), 128))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _run(
    runs: Path,
    form: str,
    seed: int,
    noise: float,
    *,
    identity: NDArray[np.int64] = IDENTITY,
    steps: int = 10,
    rate: float = 1e-3,
) -> None:
    folder = runs / f"channel-{form}-{seed}"
    folder.mkdir()
    explains = "nothing" if form == "zero" else "best"
    (folder / "config.toml").write_text(CONFIG.format(explains=explains, rate=rate))
    (folder / "measured.csv").write_text(f"step,form,agreement,auc,tar\n{steps},alone,1,1,1\n")
    vectors = _vectors(seed, noise, identity)
    np.savez(folder / EMBEDDED_FILE, alone=vectors, together=vectors)


def _compared(runs: Path, replicates: int = 30) -> Comparison:
    found = read_runs(runs, [], ["zero"])
    return compare(found, IDENTITY, ["zero"], Resampling(replicates))


def test_figures_of_ranks_are_those_of_the_verification() -> None:
    identity = np.append(IDENTITY, [NO_IDENTITY, NO_IDENTITY])
    vectors = np.concatenate([_vectors(1, noise=2.5), _vectors(2, noise=2.5)[:2]])
    pairs = Pairs.of(identity)
    counts = np.random.default_rng(3).integers(1, 4, PEOPLE).astype(np.float64)
    weights = pairs.weights(counts)
    found = Ranks.of(vectors, pairs).figures(*weights)
    similarity = (vectors[:-2] @ vectors[:-2].T)[np.triu_indices(len(IDENTITY), 1)]
    places = np.concatenate([pairs.genuine, pairs.impostor])
    same = np.arange(len(places)) < len(pairs.genuine)
    folds = np.zeros(len(places), dtype=np.int64)
    expected = verify(similarity[places], same, folds, np.concatenate(weights))
    assert 0.5 < found["auc"] < 0.999
    assert found["auc"] == pytest.approx(expected.auc)
    assert found["tar"] == pytest.approx(expected.tar_at_far["0.001"])


def test_a_form_that_tells_people_apart_better_is_shown_to_be_better(tmp_path: Path) -> None:
    for seed in (1, 2):
        _run(tmp_path, "zero", seed, noise=4.0)
        _run(tmp_path, "clear", seed, noise=1.5)
        _run(tmp_path, "same", seed, noise=4.0)
    found = _compared(tmp_path)
    by_seed = [found.differences["zero"]["clear"][seed]["alone"]["auc"] for seed in (1, 2)]
    low, high = found.intervals["zero"]["clear"]["alone"]["auc"]
    assert low <= np.mean(by_seed) <= high
    assert verdict(by_seed, (low, high)) == BETTER
    assert found.intervals["zero"]["same"]["alone"] == {"auc": [0, 0], "tar": [0, 0]}
    assert "zero" not in found.differences["zero"]


@pytest.mark.parametrize(
    ("by_seed", "interval", "expected"),
    [
        ((0.1, 0.2, 0.1), (0.05, 0.2), BETTER),
        ((-0.1, -0.2, -0.1), (-0.2, -0.05), WORSE),
        ((0.1, 0.2, -0.01), (0.05, 0.2), NOT_SHOWN),
        ((0.1, 0.2, 0.1), (-0.01, 0.2), NOT_SHOWN),
        ((0.1,), (0.05, 0.2), NOT_SHOWN),
        ((0.0, 0.0), (0.0, 0.0), NOT_SHOWN),
    ],
)
def test_what_counts_as_shown(
    by_seed: tuple[float, ...], interval: tuple[float, float], expected: str
) -> None:
    assert verdict(by_seed, interval) == expected


def test_runs_that_tell_no_forms_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotComparable, match="no run channel-"):
        read_runs(tmp_path, [], ["zero"])
    _run(tmp_path, "gradcam", 1, noise=3.0)
    with pytest.raises(NotComparable, match="no run of the control zero"):
        read_runs(tmp_path, [], ["zero"])
    _run(tmp_path, "zero", 1, noise=3.0, rate=2e-3)
    with pytest.raises(NotComparable, match="differ in more than form and seed"):
        read_runs(tmp_path, [], ["zero"])
    _run(tmp_path, "zero", 2, noise=3.0, steps=9)
    with pytest.raises(NotComparable, match="channel-zero-2 has not come to its step 10"):
        read_runs(tmp_path, ["channel-zero-2"], ["zero"])


def test_the_command_writes_tables_a_document_and_a_plot(data_dir: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    identity = data.load(data_dir, runs / "cache", "val").identity
    for seed in (1, 2):
        _run(runs, "zero", seed, noise=4.0, identity=identity)
        _run(runs, "clear", seed, noise=1.5, identity=identity)
    report = tmp_path / "channel.json"
    folders = ["--data", str(data_dir), "--runs", str(runs), "--json", str(report)]
    main(["channel", *folders, "--replicates", "10", "--controls", "zero"])
    written = read(report)
    assert written["forms"]["clear"]["minus"]["zero"]["alone"]["auc"]["shown"] == BETTER
    assert written["forms"]["clear"]["heat"]["explains"] == "best"
    assert written["forms"]["zero"]["minus"] == {}
    told = report.with_suffix(".md").read_text()
    assert "- better than `zero`: clear (alone, AUC)" in told
    assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_command_names_what_is_missing(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="face-models channel: no run"):
        main(["channel", "--data", str(data_dir), "--runs", str(tmp_path)])
