"""The validation identities: intervals of millions of pairs, breakdowns by what photos show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_models.cli import main
from face_models.training import data
from face_models.training.data import FaceSet
from face_models.training.evaluation.bootstrap import Resampling, draws, pair_weights
from face_models.training.evaluation.breakdown import band
from face_models.training.evaluation.demographics import People, people
from face_models.training.evaluation.evaluate import (
    identity_scores,
    verified_shares,
    verify_identities,
)
from face_models.training.evaluation.identities import (
    GROUP_FACES,
    Described,
    evaluate_identities,
    interval_figures,
    labelled_faces,
)
from face_models.training.evaluation.protocol import UnusableInput

pytestmark = pytest.mark.training


def face_set(identity: list[int], source: str = "fiw") -> FaceSet:
    n = len(identity)
    nothing = np.zeros((n, 128), np.float32)
    return FaceSet(
        pixels=np.zeros((n, 112, 112, 3), np.uint8),
        rows=np.arange(n),
        identity=np.array(identity, dtype=np.int64),
        teacher=nothing,
        teacher_flipped=nothing,
        source=np.array([source] * n),
    )


def people_of(n: int, **labels: list[str]) -> People:
    unknown = ["unknown"] * n
    names = ("family", "age", "sex", "group")
    return People(*(np.array(labels.get(name, unknown)) for name in names))


def noisy(identity: np.ndarray, seed: int, noise: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(identity.max() + 1, 16))
    vectors = centres[identity] + noise * random.normal(size=(len(identity), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_a_draw_tells_the_same_figures_whether_impostors_are_counted_together_or_not() -> None:
    identity = np.repeat(np.arange(12), 4)
    vectors = noisy(identity, seed=3, noise=0.8)
    scores = identity_scores(vectors, identity)
    figures = interval_figures(identity, scores)
    a, b = (identity[side] for side in np.triu_indices(len(identity), 1))
    values = (vectors @ vectors.T)[np.triu_indices(len(identity), 1)].astype(np.float64)
    for counts in draws(12, Resampling(5)):
        one_by_one = verified_shares(
            values, a == b, np.zeros(len(values), np.int64), pair_weights(counts, a, b)
        )
        together = figures(counts)
        assert one_by_one is not None
        assert together is not None
        for name in ("auc", "eer"):
            assert together[name] == pytest.approx(one_by_one[name])
        assert together["tar_at_far"] == pytest.approx(one_by_one["tar_at_far"])


def test_reports_tell_relatives_groups_and_mirror_images_apart() -> None:
    identity = np.repeat(np.arange(10), 6)
    validation = Described(
        face_set(identity.tolist()),
        people_of(60, family=[f"fiw/F{number // 5}" for number in identity]),
        {way: noisy(identity, 1, 0.5) for way in ("base", "base-flip")},
        np.array(["75+"] * 60),
    )
    e = np.eye(16, dtype=np.float32)
    labelled = Described(
        face_set([-1, -1, -1, -1], "utkface"),
        people_of(
            4, sex=["male", "male", "female", "female"], age=["20-39", "60+", "40-59", "40-59"]
        ),
        {
            "base": e[[0, 0, 1, 2]],
            "base-flip": np.stack([e[0], e[0], e[1], (e[2] + e[3]) / 2**0.5]),
        },
        np.array(["75+"] * 4),
    )
    report, _ = evaluate_identities(validation, labelled, Resampling(10))
    assert report.genuine_pairs == 10 * 15
    assert report.by_source["fiw"].impostor == report.impostor_pairs == 45 * 36
    assert report.by_family["relatives"].impostor == 2 * 10 * 36
    assert report.by_quality["75+"].fnmr == pytest.approx(
        1 - report.verification.tar_at_far["0.001"]
    )
    sexes = report.by_group["sex of the grown"]
    assert (sexes["male"].fmr, sexes["female"].fmr) == (1, 0)
    assert (sexes["male"].mirror_fnmr, sexes["female"].mirror_fnmr) == (0, 0.5)
    assert report.by_group["age"]["60+"].fmr is None
    assert report.by_group["group of the grown"] == {}


def test_sex_and_group_are_told_of_grown_people() -> None:
    labelled = people_of(3, age=["00-02", "20-39", "unknown"], sex=["male", "female", "male"])
    assert labelled.by_group["sex of the grown"].tolist() == ["unknown", "female", "unknown"]
    assert labelled.by_group["age"].tolist() == ["00-02", "20-39", "unknown"]


def test_labelled_faces_are_a_seeded_sample() -> None:
    many = face_set([-1] * (GROUP_FACES + 50), "utkface")
    drawn = labelled_faces(many, seed=1)
    assert len(drawn) == GROUP_FACES
    assert (drawn.rows == labelled_faces(many, seed=1).rows).all()
    assert len(labelled_faces(face_set([-1] * 5, "utkface"), seed=1)) == 5
    assert len(labelled_faces(face_set([0, 0]), seed=1)) == 0


@pytest.mark.parametrize(
    ("value", "name"),
    [(0, "00-24"), (24, "00-24"), (25, "25-49"), (75, "75+"), (100, "75+"), (None, "unknown")],
)
def test_bands_hold_their_lower_edge(value: int | None, name: str) -> None:
    assert band(value, (25, 50, 75)) == name


@pytest.fixture
def labelled_dir(data_dir: Path, tmp_path: Path) -> Path:
    """The tiny data set with the columns of labels; the train split's photos are UTKFace's."""
    labels = [("sex", pa.int8()), ("group", pa.int8())]  # ages are there
    (tmp_path / "train").mkdir()
    for file in sorted((data_dir / "train").glob("*.parquet")):
        schema = pa.schema([*pq.read_schema(file), *labels])
        rows = [
            _labelled(row, number) for number, row in enumerate(pq.read_table(file).to_pylist())
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "train" / file.name)
    return tmp_path


def _labelled(row: dict[str, object], number: int) -> dict[str, object]:
    if row["split"] == "val":
        return row | {"identity": f"fiw/{row['identity']}"}
    return row | {"source": "utkface", "age_years": 30, "sex": number % 2, "group": 3}


def test_labels_are_read_for_the_faces_of_a_split(labelled_dir: Path, tmp_path: Path) -> None:
    train, val = (data.load(labelled_dir, tmp_path / "cache", split) for split in ("train", "val"))
    known, unknown = people(labelled_dir, train), people(labelled_dir, val)
    assert set(known.sex) == {"male", "female"}
    assert set(known.age) == {"20-39"}
    assert set(known.group) == {"Indian"}
    assert set(unknown.sex) == {"unknown"}
    assert set(unknown.family) == {"fiw/val"}


def test_data_without_labels_is_refused(data_dir: Path, tmp_path: Path) -> None:
    faces = data.load(data_dir, tmp_path / "cache", "val")
    with pytest.raises(UnusableInput, match="no column sex, group"):
        people(data_dir, faces)


def test_evaluate_reports_the_validation_identities(labelled_dir: Path, tmp_path: Path) -> None:
    report, tables, plots = tmp_path / "out.json", tmp_path / "out.md", tmp_path / "plots"
    where = ["--data", str(labelled_dir), "--runs", str(tmp_path / "runs")]
    out = ["--json", str(report), "--markdown", str(tables), "--plot", str(plots)]
    how = ["--validation", "--model", "base", "--flip", "--replicates", "10"]
    main(["evaluate", *how, *where, *out])
    ways = json.loads(report.read_text())["validation"]
    assert ways.keys() == {"base", "base-flip", "teacher", "teacher-flip"}
    faces = data.load(labelled_dir, tmp_path / "cache", "val")
    taught = verify_identities(identity_scores(faces.teacher, faces.identity))
    assert ways["teacher"]["auc"] == pytest.approx(taught.auc)
    figures = ways["base"]
    assert (figures["people"], figures["genuine_pairs"]) == (6, 6 * 6)
    assert figures["by_family"]["relatives"]["impostor"] == figures["impostor_pairs"]
    assert figures["by_group"]["group of the grown"]["Indian"]["photos"] == 24
    assert "6 people, 36 genuine" in tables.read_text()
    assert {path.name for path in plots.iterdir()} == {"validation-roc.png", "validation-det.png"}
