"""Evaluation: photos that cannot be enrolled cost their pairs, identities are paired once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from face_models.cli import main
from face_models.engine import Embeddings
from face_models.errors import NoFace
from face_models.pipeline import Pipeline
from face_models.training.evaluate import (
    LANDMARKS,
    Pair,
    ReferenceLandmarks,
    WholePipeline,
    evaluate_pairs,
    identity_scores,
    read_landmarks,
    read_pairs,
    verify_identities,
)

PEOPLE = Path(__file__).parents[2] / "data" / "people"

pytestmark = pytest.mark.training


class PipelineOfNames:
    """Stands for the pipeline: a photo's bytes are the direction of its embedding."""

    def analyse(self, data: bytes) -> bytes:
        return data

    def choose(self, analysis: bytes, index: int | None) -> bytes:
        if analysis == b"nobody":
            raise NoFace("No face was found in the photo.")
        return analysis

    def embed(self, faces: list[bytes], models: tuple[str, ...]) -> Embeddings:
        vectors = np.eye(128, dtype=np.float32)[[int(face) for face in faces]]
        return Embeddings(vectors, vectors, np.zeros((len(faces), 224, 224), np.float32))


def whole_pipeline(images: Path) -> WholePipeline:
    return WholePipeline(PipelineOfNames(), images)  # type: ignore[arg-type]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    contents = {"a1": "1", "a2": "1", "b1": "2", "c1": "3", "empty": "nobody"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_pairs_are_scored_by_cosine(images: Path) -> None:
    pairs = [Pair(1, "a1", "a2", True), Pair(2, "a1", "b1", False)]
    (report,) = evaluate_pairs(whole_pipeline(images), pairs, ["base"])
    assert report.similarities.tolist() == [1, 0]
    assert report.verification.auc == 1
    assert report.photos == 3


def test_a_failure_to_enrol_makes_every_pair_of_that_photo_wrong(images: Path) -> None:
    pairs = [
        Pair(1, "a1", "a2", True),
        Pair(1, "a1", "b1", False),
        Pair(2, "a1", "empty", True),
        Pair(2, "b1", "empty", False),
    ]
    (report,) = evaluate_pairs(whole_pipeline(images), pairs, ["heatmap"])
    assert report.failures_to_enrol == {"empty": "no-face"}
    assert report.similarities.tolist() == [1, 0, -1, 1]
    assert report.verification.auc < 0.5
    assert report.enrolled_only.auc == 1
    assert report.enrolled_only.pairs == 2


def test_every_pair_of_known_faces_is_compared_once() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    scores = identity_scores(vectors, np.array([0, 0, 1, -1]))
    assert scores.genuine.tolist() == [1]
    assert scores.impostor.tolist() == [0, 0]
    assert verify_identities(scores).auc == 1


def test_pairs_are_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("fold,a,b,same\n3,x/1.jpg,y/1.jpg,0\n4,x/1.jpg,x/2.jpg,1\n")
    assert read_pairs(path) == [
        Pair(3, "x/1.jpg", "y/1.jpg", False),
        Pair(4, "x/1.jpg", "x/2.jpg", True),
    ]


def test_reference_landmarks_take_the_detectors_place(tmp_path: Path) -> None:
    photo = "demo-ada/1.webp"
    truth = json.loads(PEOPLE.with_suffix(".json").read_text())["landmarks"]["demo-ada"][0]
    points = [f"{point}_{axis}" for point in LANDMARKS for axis in "xy"]
    table = tmp_path / "faces.csv"
    table.write_text(
        ",".join(["photo", *points]) + "\n" + ",".join([photo, *map(str, np.ravel(truth))]) + "\n"
    )
    pipeline = Pipeline.load()
    embed = ReferenceLandmarks(pipeline.engine, PEOPLE, read_landmarks(table))
    ours = WholePipeline(pipeline, PEOPLE)(photo, ("base",)).base[0]
    assert float(embed(photo, ("base",)).base[0] @ ours) > 0.8


def test_evaluate_reports_the_shipped_networks_on_demo_people(tmp_path: Path) -> None:
    pairs = _write_demo_pairs(tmp_path / "pairs.csv")
    report, plot = tmp_path / "out.json", tmp_path / "roc.png"
    where = ["--pairs", str(pairs), "--images", str(PEOPLE)]
    main(["evaluate", *where, "--model", "both", "--json", str(report), "--plot", str(plot)])
    document = json.loads(report.read_text())
    assert set(document["models"]) == {"base", "heatmap"}
    assert document["models"]["heatmap"]["auc"] > 0.9
    assert {"command", "commit", "data", "date", "machine"} <= set(document["provenance"])
    assert plot.read_bytes().startswith(b"\x89PNG")


def _write_demo_pairs(path: Path) -> Path:
    """Eight people: each with herself and with the next one."""
    photos = [sorted(p.iterdir())[:2] for p in sorted(PEOPLE.iterdir()) if p.is_dir()][:8]
    names = [[str(photo.relative_to(PEOPLE)) for photo in person] for person in photos]
    same = [f"{fold % 2},{a},{b},1" for fold, (a, b) in enumerate(names)]
    different = [f"{n % 2},{names[n][0]},{names[n - 1][1]},0" for n in range(len(names))]
    path.write_text("\n".join(["fold,a,b,same", *same, *different]) + "\n")
    return path
