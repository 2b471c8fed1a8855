"""What `face-models calibrate` measures beside the fit, on people made of random vectors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from face_models.errors import NoFace
from face_models.training.calibrating import plot, report
from face_models.training.calibrating.clumps import no_isolation
from face_models.training.calibrating.comparisons import Faces
from face_models.training.calibrating.fit import Fit, fit
from face_models.training.calibrating.study import (
    BORDER_PX,
    OwnCrops,
    People,
    first_photos,
    own_crops,
    people_of_folder,
    points,
    rates_again,
    rates_by_band,
    two_names,
)
from face_models.training.calibrating.subjects import TEMPLATES, Subjects
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.evaluation.report import write_document

pytestmark = pytest.mark.training

DIMENSIONS = 32
PHOTOS = 2


def people(seed: int, families: int = 60) -> Faces:
    """Two people a family, two photos each."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(2 * families), PHOTOS)
    means = random.normal(size=(2 * families, DIMENSIONS))
    vectors = means[person] + 0.5 * random.normal(size=(len(person), DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Faces(vectors.astype(np.float32), person, person // 2)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return people(1)


@pytest.fixture(scope="module")
def fitted(faces: Faces) -> Fit:
    return fit(faces, no_isolation(DIMENSIONS), model_sha256="", data="made", seed=0)


class ColourEngine:
    """A crop's embedding is the direction of its mean colour."""

    def embed(self, crops: np.ndarray) -> SimpleNamespace:
        colours = crops.mean(axis=(1, 2)) + 1.0
        unit = (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)
        return SimpleNamespace(base=unit, heatmap=unit)


class FindsBright:
    """Finds the photo itself as a face, unless it is black."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def analyse(self, photo: bytes) -> np.ndarray:
        self.seen.append(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
        return self.seen[-1]

    def choose(self, analysis: np.ndarray) -> SimpleNamespace:
        if not analysis.any():
            raise NoFace("No face was found in the photo.")
        return SimpleNamespace(crop=cv2.resize(analysis, (224, 224)), quality=70)


def test_what_is_stated_is_told_beside_what_was_counted(fitted: Fit) -> None:
    told = points(fitted, [1e-1, 1e-2])
    for point, rate in zip(told, (1e-1, 1e-2), strict=True):
        assert point.low <= point.stated <= point.high
        assert point.stated == pytest.approx(rate, rel=0.2)
        assert point.counted == pytest.approx(point.stated, rel=0.01)
        assert point.tar > 0.9


def test_relatives_are_told_apart_from_strangers() -> None:
    faces = people(1)
    alike = faces.vectors.copy()
    alike[faces.person % 2 == 1] = alike[faces.person % 2 == 0]  # everybody and her twin
    twins = Faces(alike, faces.person, faces.family)
    found = fit(twins, no_isolation(DIMENSIONS), model_sha256="", data="", seed=0)
    (point,) = points(found, [1e-2])
    assert point.relatives > 0.9
    assert point.counted < 0.02


def test_the_same_faces_again_have_the_same_rates(faces: Faces, fitted: Fit) -> None:
    assert rates_again(faces, fitted.table)["0.01"] == pytest.approx(0.01, rel=0.2)
    assert rates_again(people(2), fitted.table)["0.01"] == pytest.approx(0.01, rel=0.4)


def test_bands_of_probes_have_rates_of_their_own(faces: Faces, fitted: Fit) -> None:
    crowd = np.tile(faces.vectors[:1], (5, 1))
    probes = np.concatenate([people(3).vectors, crowd])
    family = np.append(np.full(len(probes) - 5, -1), np.full(5, faces.family[0]))
    bands = np.array(["stranger"] * (len(probes) - 5) + ["herself"] * 5)
    found = rates_by_band(probes, family, bands, faces, fitted.table)
    assert found["stranger"]["photos"] == len(probes) - 5
    assert found["stranger"]["0.01"] == pytest.approx(0.01, rel=0.4)
    assert found["herself"]["0.0001"] == 0  # her own family is left out


def test_one_person_under_two_names_is_found(faces: Faces, fitted: Fit) -> None:
    assert two_names(faces.vectors, faces, fitted, seed=0).pairs == 0
    twice = faces.vectors.copy()
    twice[faces.person == 7] = twice[faces.person == 100]
    again = Faces(twice, faces.person, faces.family)
    assert two_names(twice, again, fitted, seed=0).pairs == 1


def test_at_most_so_many_photos_of_everybody_are_taken() -> None:
    person = np.array([4, 4, 2, 4, 2, 9])
    assert first_photos(person, 2).tolist() == [0, 1, 2, 4, 5]


def test_faces_are_found_again_in_a_frame_of_their_own_edge() -> None:
    images = np.full((3, 112, 112, 3), (200, 90, 30), np.uint8)
    images[1] = 0
    subjects = SimpleNamespace(
        person=np.array([0, 1, 2]), faces=SimpleNamespace(images=lambda rows: images[rows])
    )
    pipeline = FindsBright()
    crops = own_crops(pipeline, ColourEngine(), subjects)  # type: ignore[arg-type]
    assert crops.kept.tolist() == [0, 2]
    assert crops.failures == {"no-face": 1}
    assert crops.quality.tolist() == [70, 70]
    assert pipeline.seen[0].shape == (112 + 2 * BORDER_PX, 112 + 2 * BORDER_PX, 3)
    assert pipeline.seen[0][0, 0].tolist() == [200, 90, 30]
    assert crops.vectors["base-flip"].shape == (2, 3)


def test_of_a_folder_everybodys_first_photo_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("face_models.training.calibrating.study.LEAST_PEOPLE", 2)
    for name, level in (("ada", 200), ("ben", 100), ("nobody", 0)):
        (tmp_path / name).mkdir()
        for number, shade in enumerate((level, 255)):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.full((8, 8, 3), shade, np.uint8))
    pipeline = FindsBright()
    found = people_of_folder(pipeline, ColourEngine(), tmp_path)  # type: ignore[arg-type]
    assert [photo[0, 0, 0] for photo in pipeline.seen] == [200, 100, 0]
    assert found.failures == {"no-face": 1}
    assert len(found.vectors["heatmap"]) == 2


def test_a_folder_of_few_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="holds 0 people"):
        people_of_folder(FindsBright(), ColourEngine(), tmp_path)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def document(faces: Faces, fitted: Fit) -> report.Document:
    """The report on made people, all of it."""
    everybody = np.arange(len(faces.person))
    both = people(5, families=150)
    others = Faces(*(rows[::PHOTOS] for rows in (both.vectors, both.person, both.family)))

    def by_template(vectors: np.ndarray) -> dict[str, np.ndarray]:
        return dict.fromkeys(TEMPLATES, vectors)

    validation, cohort = (
        Subjects(
            vectors=by_template(each.vectors),
            person=each.person,
            family=each.family,
            source=np.full(len(each.person), "fiw"),
            faces=SimpleNamespace(teacher_both_ways=each.vectors),  # type: ignore[arg-type]
        )
        for each in (faces, others)
    )
    material = report.Material(
        engine=ColourEngine(),  # type: ignore[arg-type]
        validation=validation,
        cohort=cohort,
        crops=OwnCrops(everybody, by_template(faces.vectors), everybody % 100, {}),
        folder=People(by_template(people(6).vectors[::PHOTOS]), {"no-face": 2}),
        ages=by_template(others.vectors[:40]),
        age_bands=np.array(["00-02", "20-39"] * 20),
    )
    model = report._model("heatmap", fitted, material)
    source = {"command": "made", "commit": "abc", "date": "today", "data": "made people"}
    return {"models": {"heatmap": model}, "failures_to_enrol": {}, "provenance": source}


def test_the_report_is_plain_json(document: report.Document, tmp_path: Path) -> None:
    write_document(document, tmp_path / "calibration.json")
    model = json.loads((tmp_path / "calibration.json").read_text())["models"]["heatmap"]
    assert len(model["proofs"]) == 18  # two halves and the folder, two galleries, three FPIRs each
    assert set(model["fmr_by_age"]) == {"00-02", "20-39"}
    assert model["fmr_of_own_crops"] == model["fmr_of_aligned_faces"]


def test_the_report_tells_every_proof_and_which_side_a_failure_is_on(
    document: report.Document,
) -> None:
    told = report.markdown(document)
    proofs = document["models"]["heatmap"]["proofs"]
    assert told.count("validation, half 1") == told.count("validation, half 2") == 12
    assert sum(proof["within"] for proof in proofs) >= 14
    proofs[0] |= {"within": False, "measured": 0.9}
    proofs[1] |= {"within": False, "measured": 0.0}
    changed = report.markdown(document)
    assert "NO: MORE THAN STATED" in changed
    assert "no: fewer than stated" in changed


def test_the_curves_are_drawn(document: report.Document, fitted: Fit, tmp_path: Path) -> None:
    plot.draw({"heatmap": fitted}, document, "heatmap", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
