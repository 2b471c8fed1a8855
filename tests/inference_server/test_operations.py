"""Health, readiness, metrics, the journal, and the id that runs through them."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from face_models.pipeline import PipelineSettings
from inference_server.gallery.store import SqlStore
from inference_server.journal import JsonLines
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN, WITH_TOKEN, client_of, enrol, problem_of, upload
from tests.inference_server.painted_people import (
    RED,
    PaintedEngine,
    answering_models,
    broken_networks,
    paint,
    painted_pipeline,
)
from tests.inference_server.references import OTHER_STAMP, reference


def test_a_living_server_says_so_to_anybody(client: FlaskClient):
    assert client.get("/healthz").get_json() == {"status": "alive"}


def test_a_ready_server_has_made_a_real_inference(client: FlaskClient, engine: PaintedEngine):
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["status"]) == (200, "ready")
    assert engine.asked_models == [("base", "heatmap")]


def test_faces_that_no_search_finds_are_warned_of(client: FlaskClient, file_store: SqlStore):
    file_store.add_person("ann")
    file_store.add_face(reference("ann", "f1"))
    file_store.add_face(reference("ann", "f2", stamp=OTHER_STAMP))
    answer = client.get("/readyz").get_json()
    assert (answer["outdated_faces"], len(answer["warnings"])) == (1, 1)
    assert answer["gallery"] == {
        "persons": 1,
        "faces": 1,
        "version": 2,
        "models": answering_models(),
    }


def test_a_server_whose_networks_fail_is_not_ready(settings: Settings, file_store: SqlStore):
    client = client_of(settings, painted_pipeline(broken_networks()), file_store)
    response = client.get("/readyz")
    assert (response.status_code, problem_of(response)) == (500, "embedding-failed")


def test_a_server_that_misses_the_face_it_knows_is_not_ready(
    settings: Settings, file_store: SqlStore
):
    blind = painted_pipeline(settings=PipelineSettings(min_face_px=10_000))
    response = client_of(settings, blind, file_store).get("/readyz")
    assert (response.status_code, problem_of(response)) == (503, "not-ready")


@pytest.mark.parametrize("given", ["call-1", "a.b_C-9", "x" * 64])
def test_the_callers_request_id_is_answered(client: FlaskClient, given: str):
    response = client.get("/healthz", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<script>", "é"])
def test_a_request_id_that_could_do_harm_is_replaced(client: FlaskClient, given: str):
    response = client.get("/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])


def test_metrics_count_answers_searches_enrolments_and_problems(client: FlaskClient):
    enrol(client, "ann", paint(RED), "f1")
    upload(client, "/v1/match", paint(RED))
    upload(client, "/v1/match", b"text")
    response = client.get("/metrics")
    lines = response.text.splitlines()
    assert response.content_type.startswith("text/plain; version=")
    for line in (
        'inference_requests_total{route="put_person",status="201"} 1.0',
        'inference_requests_total{route="match",status="200"} 1.0',
        'inference_requests_total{route="match",status="415"} 1.0',
        'inference_problems_total{slug="unsupported-image-type"} 1.0',
        'inference_searches_total{model="heatmap",verdict="lead"} 1.0',
        "inference_enrolments_total 1.0",
        "inference_gallery_persons 1.0",
        "inference_gallery_faces 1.0",
        "inference_gallery_version 1.0",
        'inference_step_seconds_count{step="embed"} 1.0',
    ):
        assert line in lines


def test_unknown_addresses_and_methods_make_no_new_metrics(client: FlaskClient):
    for address in ("/x1", "/x2"):
        client.open(address, method="BREW", headers=WITH_TOKEN)
    text = client.get("/metrics").text
    assert 'inference_requests_total{route="none",status="404"} 2.0' in text
    assert "x1" not in text
    assert "BREW" not in text


def answered(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = [record for record in caplog.records if record.getMessage() == "answered"]
    line: dict[str, object] = json.loads(JsonLines().format(record))
    return line


def test_the_journal_has_one_line_for_an_answer(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    client.get("/v1/gallery", headers={**WITH_TOKEN, "X-Request-Id": "call-7"})
    line = answered(caplog)
    assert (line["route"], line["status"], line["level"]) == ("gallery", 200, "INFO")
    assert line["ms"] >= 0


def test_the_journal_names_problems_but_no_persons_and_no_token(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    client.delete("/v1/persons/somebody-we-miss", headers=WITH_TOKEN)
    assert answered(caplog)["problem"] == "person-not-found"
    written = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert "somebody" not in written
    assert TOKEN not in written


def test_a_line_holds_the_traceback_of_what_nobody_foresaw(
    settings: Settings, file_store: SqlStore, caplog: pytest.LogCaptureFixture
):
    broken = painted_pipeline(PaintedEngine(RuntimeError("nobody foresaw this")))
    upload(client_of(settings, broken, file_store), "/v1/match", paint(RED))
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert any("nobody foresaw this" in line.get("traceback", "") for line in lines)


def test_a_line_belongs_to_the_request_it_was_written_in(settings: Settings, file_store: SqlStore):
    client = client_of(settings, painted_pipeline(), file_store)
    lines: list[str] = []
    catcher = logging.Handler()
    catcher.emit = lambda record: lines.append(JsonLines().format(record))  # type: ignore[method-assign]
    log = logging.getLogger("inference_server")
    log.addHandler(catcher)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        client.get("/healthz", headers={"X-Request-Id": "call-8"})
    finally:
        log.removeHandler(catcher)
        log.setLevel(level)
    assert [json.loads(line)["request_id"] for line in lines] == ["call-8"]


def test_the_token_is_in_no_representation_of_the_settings(settings: Settings):
    assert TOKEN not in repr(replace(settings, port=9))
