"""The server with the networks that are shipped, and photos of people who do not exist."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image

from face_models.pipeline import Pipeline
from inference_server.app import assemble
from inference_server.gallery import Vectors
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN, WITH_TOKEN, enrol, upload
from tests.inference_server.running_server import running

PEOPLE = Path(__file__).parents[1] / "data" / "people"
FIRST = 6


def photos_of(person: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(person.iterdir())]


def people() -> list[Path]:
    return sorted(path for path in PEOPLE.iterdir() if path.is_dir())[:FIRST]


def embedded(pipeline: Pipeline, photos: list[bytes], model: str) -> Vectors:
    faces = [pipeline.choose(pipeline.analyse(photo)) for photo in photos]
    vectors: Vectors = getattr(pipeline.embed(faces, (model,)), model)
    return vectors


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """All but the last photo of a few people are enrolled."""
    file = tmp_path_factory.mktemp("real") / "gallery.db"
    settings = Settings.from_mapping({"INTERNAL_TOKEN": TOKEN, "DATABASE_URL": f"sqlite:///{file}"})
    app = assemble(settings)
    caller = app.test_client()
    for person in people():
        for number, photo in enumerate(photos_of(person)[:-1]):
            answer = enrol(caller, person.name, photo, f"{person.name}-{number}")
            assert answer.status_code == 201, answer.get_json()
    return caller


@pytest.mark.parametrize("model", ["heatmap", "base"])
def test_the_candidates_are_those_of_the_pipeline_itself(
    client: FlaskClient, pipeline: Pipeline, model: str
):
    probe = photos_of(people()[0])[-1]
    (wanted,) = embedded(pipeline, [probe], model)
    best = {
        person.name: float((embedded(pipeline, photos_of(person)[:-1], model) @ wanted).max())
        for person in people()
    }
    expected = sorted(best.items(), key=lambda item: -item[1])[:5]
    answer = upload(client, "/v1/match", probe, model=model).get_json()
    found = [(c["person_id"], c["similarity"]) for c in answer["candidates"]]
    assert [person for person, _ in found] == [person for person, _ in expected]
    for (_, similarity), (_, cosine) in zip(found, expected, strict=True):
        assert similarity == pytest.approx(cosine, abs=1e-4)


def test_the_very_photo_that_was_enrolled_is_a_lead(client: FlaskClient):
    person = people()[0]
    answer = upload(client, "/v1/match", photos_of(person)[0]).get_json()
    best = answer["candidates"][0]
    assert (best["person_id"], best["similarity"]) == (person.name, pytest.approx(1, abs=1e-4))
    assert 0 < best["confidence"] <= 1
    assert answer["verdict"] == "lead"


def test_the_server_is_ready(client: FlaskClient):
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.get_json()


def test_a_verification_compares_what_the_pipeline_embeds(client: FlaskClient, pipeline: Pipeline):
    a, b = photos_of(people()[0])[:2]
    data = {"photo_a": (BytesIO(a), "a"), "photo_b": (BytesIO(b), "b")}
    answer = client.post("/v1/verify", data=data, headers=WITH_TOKEN).get_json()
    one, other = embedded(pipeline, [a, b], "heatmap")
    wanted = float(one @ other)
    assert answer["similarity"] == pytest.approx(wanted, abs=1e-4)
    assert answer["false_match_rate"] == pytest.approx(
        pipeline.calibration.fmr("heatmap", wanted), rel=0.05
    )


def test_a_heatmap_can_be_drawn(client: FlaskClient):
    answer = upload(client, "/v1/heatmap", photos_of(people()[0])[0])
    with Image.open(BytesIO(answer.data)) as picture:
        assert picture.size == (224, 224)


@pytest.mark.system
def test_the_console_script_serves_and_stops_without_a_complaint(tmp_path: Path):
    variables = {"DATABASE_URL": f"sqlite:///{tmp_path}/gallery.db", "TMPDIR": str(tmp_path)}
    with running("inference_server.cli", "serve", **variables) as server:
        ready = server.call("GET", "/readyz")
        assert ready.status == 200, ready.json
        assert server.stop() == 0
    assert {line["level"] for line in server.journal} == {"INFO"}
