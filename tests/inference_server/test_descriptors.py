"""DESCRIPTOR and FLIP: what stands for a face is never compared with anything else.

Nor is it judged by curves that were measured on something else.
"""

from __future__ import annotations

from io import BytesIO
from itertools import permutations, product

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from inference_server.app import demands_of
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN, WITH_TOKEN, client_of, enrol, upload
from tests.inference_server.painted_people import (
    BLUE,
    GREEN,
    RED,
    PaintedCalibration,
    paint,
    painted_pipeline,
)
from tests.inference_server.references import GRAPHS

Variant = dict[str, str]

EMBEDDING: Variant = {}
FLIPPED = {"FLIP": "1"}
HEATMAP = {"DESCRIPTOR": "heatmap"}
FLIPPED_HEATMAP = {**HEATMAP, **FLIPPED}
VARIANTS = {
    "embedding": EMBEDDING,
    "flipped": FLIPPED,
    "heatmap": HEATMAP,
    "flipped heatmap": FLIPPED_HEATMAP,
}
MEASURED_ON = {  # the curves that each would need, and the network they are measured on
    ("flipped", "base"): ("base-flip", "base"),
    ("flipped", "heatmap"): ("heatmap-flip", "heatmap"),
    ("heatmap", "heatmap"): ("heatmap-descriptor", "base"),
    ("flipped heatmap", "base"): ("base-flip", "base"),
    ("flipped heatmap", "heatmap"): ("heatmap-descriptor", "base"),
}


def server(
    store: SqlStore, variant: Variant, calibration: PaintedCalibration | None = None, **more: str
) -> FlaskClient:
    settings = Settings.from_mapping(
        {"INTERNAL_TOKEN": TOKEN, "MIN_QUALITY": "0", **variant, **more}
    )
    pipeline = painted_pipeline(settings=demands_of(settings), calibration=calibration)
    return client_of(settings, pipeline, store)


def enrol_three(client: FlaskClient) -> None:
    for person_id, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        assert enrol(client, person_id, paint(colour), f"{person_id}-1").status_code in (200, 201)


def found(client: FlaskClient, photo: bytes, model: str) -> list[str]:
    answer = upload(client, "/v1/match", photo, model=model).get_json()
    return [candidate["person_id"] for candidate in answer["candidates"]]


def two_photos(client: FlaskClient, a: bytes, b: bytes) -> TestResponse:
    data = {"photo_a": (BytesIO(a), "a"), "photo_b": (BytesIO(b), "b")}
    return client.post("/v1/verify", data=data, headers=WITH_TOKEN)


@pytest.mark.parametrize(("name", "model"), list(product(VARIANTS, ["base", "heatmap"])))
def test_whoever_is_enrolled_is_found_first(file_store: SqlStore, name: str, model: str):
    client = server(file_store, VARIANTS[name])
    enrol_three(client)
    answer = upload(client, "/v1/match", paint(GREEN), model=model).get_json()
    best = answer["candidates"][0]
    assert (best["person_id"], best["similarity"]) == ("green", pytest.approx(1, abs=1e-5))
    assert len(answer["candidates"]) == 3


def test_the_descriptor_makes_the_heatmap_models_similarity(file_store: SqlStore):
    """Maps without negative numbers resemble each other; random embeddings hardly do."""
    client = server(file_store, HEATMAP)
    enrol_three(client)
    worst = {
        model: upload(client, "/v1/match", paint(RED), model=model).get_json()["candidates"][-1]
        for model in ("base", "heatmap")
    }
    assert worst["heatmap"]["similarity"] > 0.8 > worst["base"]["similarity"]


@pytest.mark.parametrize(("before", "after"), list(permutations(VARIANTS, 2)))
def test_faces_of_another_setting_are_found_only_once_enrolled_anew(
    file_store: SqlStore, before: str, after: str
):
    older, newer = server(file_store, VARIANTS[before]), server(file_store, VARIANTS[after])
    enrol_three(older)
    for model in ("base", "heatmap"):
        assert found(newer, paint(RED), model) == []
    ready = newer.get("/readyz").get_json()
    assert ready["outdated_faces"] == 3
    assert "settings" in ready["warnings"][0]
    enrol_three(newer)
    for model in ("base", "heatmap"):
        assert found(newer, paint(RED), model)[0] == "red"
        assert found(older, paint(RED), model) == []


@pytest.mark.parametrize(("name", "model"), MEASURED_ON)
def test_what_was_not_measured_is_said_to_be_uncalibrated(
    file_store: SqlStore, name: str, model: str
):
    client = server(file_store, VARIANTS[name], LEAD_MAX_EXPECTED_FALSE_MATCHES="1000")
    enrol_three(client)
    answer = upload(client, "/v1/match", paint(RED), model=model).get_json()
    assert (answer["warnings"], answer["verdict"]) == (["uncalibrated"], "no_credible_lead")
    claims = {(c["expected_false_matches"], c["confidence"]) for c in answer["candidates"]}
    assert claims == {(3, 1 / 4)}


@pytest.mark.parametrize(("name", "model"), MEASURED_ON)
def test_what_was_measured_is_judged_by_its_own_curves(file_store: SqlStore, name: str, model: str):
    curves, graph = MEASURED_ON[name, model]
    calibration = PaintedCalibration(measured={**GRAPHS, curves: GRAPHS[graph]})
    client = server(file_store, VARIANTS[name], calibration)
    enrol_three(client)
    answer = upload(client, "/v1/match", paint(RED), model=model).get_json()
    assert (answer["warnings"], answer["verdict"]) == ([], "lead")
    best = answer["candidates"][0]
    assert best["expected_false_matches"] == pytest.approx(3e-6, rel=1e-3)


@pytest.mark.parametrize(("name", "model"), MEASURED_ON)
def test_curves_of_another_graph_are_no_calibration(file_store: SqlStore, name: str, model: str):
    calibration = PaintedCalibration(measured={**GRAPHS, MEASURED_ON[name, model][0]: "0" * 64})
    client = server(file_store, VARIANTS[name], calibration)
    answer = upload(client, "/v1/match", paint(RED), model=model).get_json()
    assert answer["warnings"] == ["uncalibrated"]


def test_the_base_networks_curves_hold_beside_the_heatmap_descriptor(file_store: SqlStore):
    client = server(file_store, HEATMAP)
    enrol_three(client)
    answer = upload(client, "/v1/match", paint(RED), model="base").get_json()
    assert (answer["warnings"], answer["verdict"]) == ([], "lead")


def test_without_curves_no_two_photos_are_called_the_same(file_store: SqlStore):
    client = server(file_store, HEATMAP, VERIFY_MAX_FALSE_MATCH_RATE="1")
    answer = two_photos(client, paint(RED), paint(RED)).get_json()
    assert answer["similarity"] == pytest.approx(1, abs=1e-5)
    assert (answer["same"], answer["warnings"]) == (False, ["uncalibrated"])
    assert (answer["false_match_rate"], answer["confidence"]) == (1, 0.5)


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("embedding", []),
        ("flipped", ["base", "heatmap"]),
        ("heatmap", ["heatmap"]),
        ("flipped heatmap", ["base", "heatmap"]),
    ],
)
def test_readiness_names_the_models_without_curves(
    file_store: SqlStore, name: str, models: list[str]
):
    warnings = server(file_store, VARIANTS[name]).get("/readyz").get_json()["warnings"]
    assert [w.split("'")[1] for w in warnings] == models
    assert all("not calibrated" in warning for warning in warnings)
