"""POST /v1/match, /faces, /heatmap and /verify over a painted world."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.inference_server.callers import WITH_TOKEN, enrol, problem_of, upload
from tests.inference_server.painted_people import (
    BLUE,
    GREEN,
    RED,
    PaintedEngine,
    embedding_of,
    map_of,
    paint,
)
from tests.inference_server.references import GRAPHS


@pytest.fixture
def enrolled(client: FlaskClient) -> FlaskClient:
    """Three persons; red has two faces."""
    for person_id, colour, face_id in (
        ("red", RED, "r1"),
        ("green", GREEN, "g1"),
        ("blue", BLUE, "b1"),
    ):
        assert enrol(client, person_id, paint(colour), face_id).status_code == 201
    assert enrol(client, "red", paint(RED, margin_px=30), "r2").status_code == 201
    return client


def test_the_person_in_the_photo_comes_first(enrolled: FlaskClient):
    answer = upload(enrolled, "/v1/match", paint(RED)).get_json()
    best = answer["candidates"][0]
    assert (best["rank"], best["person_id"], best["face_id"]) == (1, "red", "r1")
    assert best["similarity"] == pytest.approx(1, abs=1e-6)
    assert answer["verdict"] == "lead"


def test_a_match_answers_as_agreed(enrolled: FlaskClient):
    response = upload(enrolled, "/v1/match", paint(RED), {"X-Request-Id": "call.1"})
    answer = response.get_json()
    assert list(answer) == [
        "request_id",
        "model",
        "gallery",
        "faces",
        "face",
        "warnings",
        "verdict",
        "candidates",
        "timings_ms",
    ]
    assert (response.status_code, answer["request_id"]) == (200, "call.1")
    assert answer["model"] == {"name": "heatmap", "sha256": GRAPHS["heatmap"]}
    assert answer["gallery"] == {"persons": 3, "faces": 4, "version": 4}
    assert (answer["face"], answer["warnings"]) == (0, [])
    assert {"decode", "detect", "embed", "search", "total"} <= answer["timings_ms"].keys()
    (face,) = answer["faces"]
    assert list(face) == ["index", "box", "landmarks", "score", "quality", "warnings"]
    assert face["box"] == [40.0, 40.0, 112.0, 112.0]
    assert np.shape(face["landmarks"]) == (5, 2)


def test_a_candidates_numbers_come_from_the_calibration(enrolled: FlaskClient):
    candidates = upload(enrolled, "/v1/match", paint(RED)).get_json()["candidates"]
    for candidate in candidates:
        similarity = candidate["similarity"]
        faces = 4
        assert candidate["confidence"] == pytest.approx((similarity + 1) / 2 / faces, abs=1e-5)
        expected = faces * 10 ** (-6 * max(similarity, 0))
        assert candidate["expected_false_matches"] == pytest.approx(expected, rel=1e-3)


def test_candidates_are_different_persons_in_descending_similarity(enrolled: FlaskClient):
    candidates = upload(enrolled, "/v1/match", paint(RED)).get_json()["candidates"]
    similarities = [candidate["similarity"] for candidate in candidates]
    assert [candidate["rank"] for candidate in candidates] == [1, 2, 3]
    assert {candidate["person_id"] for candidate in candidates} == {"red", "green", "blue"}
    assert similarities == sorted(similarities, reverse=True)


def test_a_stranger_gives_no_credible_lead(enrolled: FlaskClient):
    answer = upload(enrolled, "/v1/match", paint((90, 90, 10))).get_json()
    assert (answer["verdict"], len(answer["candidates"])) == ("no_credible_lead", 3)


def test_an_empty_gallery_gives_no_candidates(client: FlaskClient):
    answer = upload(client, "/v1/match", paint(RED)).get_json()
    assert (answer["verdict"], answer["candidates"]) == ("no_credible_lead", [])
    assert answer["gallery"] == {"persons": 0, "faces": 0, "version": 0}


def test_top_k_limits_the_candidates(enrolled: FlaskClient):
    answer = upload(enrolled, "/v1/match", paint(RED), top_k=2).get_json()
    assert len(answer["candidates"]) == 2


@pytest.mark.parametrize(("model", "asked"), [("base", ("base",)), ("heatmap", ("heatmap",))])
def test_each_model_compares_its_own_embeddings(
    enrolled: FlaskClient, engine: PaintedEngine, model: str, asked: tuple[str, ...]
):
    answer = upload(enrolled, "/v1/match", paint(RED), model=model).get_json()
    similarity = {c["person_id"]: c["similarity"] for c in answer["candidates"]}
    expected = float(embedding_of(RED, model) @ embedding_of(BLUE, model))
    assert answer["model"]["name"] == model
    assert similarity["blue"] == pytest.approx(expected, abs=1e-5)
    assert engine.asked_models[-1] == asked


def test_the_raw_body_is_as_good_as_a_form(enrolled: FlaskClient):
    raw = enrolled.post(
        "/v1/match?top_k=1&model=base",
        data=paint(GREEN),
        headers={**WITH_TOKEN, "Content-Type": "image/png"},
    )
    form = upload(enrolled, "/v1/match", paint(GREEN), top_k=1, model="base")
    assert raw.get_json()["candidates"] == form.get_json()["candidates"]


def test_several_faces_are_said_unless_the_caller_chose_one(enrolled: FlaskClient):
    photo = paint(RED, BLUE)
    unsaid, chosen = (
        upload(enrolled, "/v1/match", photo).get_json(),
        upload(enrolled, "/v1/match", photo, face=1).get_json(),
    )
    assert (unsaid["warnings"], unsaid["face"]) == (["several_faces"], 0)
    assert (chosen["warnings"], chosen["face"]) == ([], 1)
    assert {unsaid["candidates"][0]["person_id"], chosen["candidates"][0]["person_id"]} == {
        "red",
        "blue",
    }


def test_faces_are_listed_without_a_search(client: FlaskClient):
    answer = upload(client, "/v1/faces", paint(RED, GREEN)).get_json()
    assert [face["index"] for face in answer["faces"]] == [0, 1]
    assert answer["photo"] == {"width": 344, "height": 192}
    assert (answer["face"], answer["warnings"]) == (0, ["several_faces"])
    assert {"decode", "detect", "total"} <= answer["timings_ms"].keys()
    assert answer["request_id"]


def test_a_photo_of_nobody_has_no_faces_and_that_is_an_answer(client: FlaskClient):
    answer = upload(client, "/v1/faces", paint()).get_json()
    assert (answer["faces"], answer["face"], answer["warnings"]) == ([], None, [])


def test_a_heatmap_is_a_picture_by_default(client: FlaskClient):
    response = upload(client, "/v1/heatmap", paint(RED))
    assert response.content_type == "image/png"
    with Image.open(BytesIO(response.data)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (224, 224), "RGB")


def test_a_heatmap_as_json_holds_the_picture_and_the_map(client: FlaskClient):
    accept = {"Accept": "application/json"}
    answer = upload(client, "/v1/heatmap", paint(RED, BLUE), accept, face=1).get_json()
    described = answer["map"]
    numbers = np.frombuffer(b64decode(described["data"]), described["dtype"])
    assert (answer["face"], answer["model"]["name"]) == (1, "base")
    assert described["shape"] == [224, 224]
    assert {colour for colour in (RED, BLUE) if np.array_equal(numbers, map_of(colour).ravel())}
    assert b64decode(answer["overlay_png"]).startswith(b"\x89PNG")


def test_a_heatmap_as_npy_is_the_map_alone(client: FlaskClient):
    response = upload(client, "/v1/heatmap", paint(RED), {"Accept": "application/x-npy"})
    loaded = np.load(BytesIO(response.data))
    assert (response.content_type, loaded.dtype, loaded.shape) == (
        "application/x-npy",
        np.float32,
        (224, 224),
    )


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("application/json;q=0.5, image/png;q=0.9", "image/png"),
        ("text/html, application/json", "application/json"),
        ("text/html", "application/problem+json"),
    ],
)
def test_the_heatmaps_form_is_negotiated(client: FlaskClient, accept: str, answered: str):
    response = upload(client, "/v1/heatmap", paint(RED), {"Accept": accept})
    assert response.content_type == answered


def test_a_heatmap_needs_no_heatmap_network(client: FlaskClient, engine: PaintedEngine):
    upload(client, "/v1/heatmap", paint(RED))
    assert engine.asked_models == [("base",)]


def two_photos(client: FlaskClient, a: bytes, b: bytes, **options: str):
    data = {"photo_a": (BytesIO(a), "a"), "photo_b": (BytesIO(b), "b"), **options}
    return client.post("/v1/verify", data=data, headers=WITH_TOKEN)


def test_two_photos_of_one_person_are_the_same(client: FlaskClient):
    answer = two_photos(client, paint(RED), paint(RED, margin_px=30)).get_json()
    assert (answer["same"], answer["similarity"]) == (True, pytest.approx(1, abs=1e-6))
    assert answer["false_match_rate"] == pytest.approx(1e-6, rel=1e-3)


def test_two_photos_of_two_persons_are_not_the_same(client: FlaskClient):
    answer = two_photos(client, paint(RED), paint(GREEN), model="base").get_json()
    expected = float(embedding_of(RED, "base") @ embedding_of(GREEN, "base"))
    assert answer["same"] is False
    assert answer["similarity"] == pytest.approx(expected, abs=1e-5)
    assert answer["model"] == {"name": "base", "sha256": GRAPHS["base"]}


def test_two_photos_at_the_limit_of_one_fit_into_one_verification(client: FlaskClient):
    padding = bytes(190_000)  # after the PNG's end, which its reader leaves alone
    answer = two_photos(client, paint(RED) + padding, paint(RED) + padding)
    assert answer.status_code == 200


def test_a_verification_needs_both_photos(client: FlaskClient):
    response = client.post(
        "/v1/verify", data={"photo_a": (BytesIO(paint(RED)), "a")}, headers=WITH_TOKEN
    )
    assert (response.status_code, problem_of(response)) == (400, "photo-missing")
    assert "photo_b" in response.get_json()["detail"]
