"""Persons and faces over HTTP; what is enrolled is found by the very next search."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.callers import WITH_TOKEN, client_of, enrol, problem_of, upload
from tests.inference_server.painted_people import (
    BLUE,
    GREEN,
    RED,
    PaintedEngine,
    answering_models,
    paint,
    painted_pipeline,
)
from tests.inference_server.references import GRAPHS, reference


def gallery(client: FlaskClient) -> tuple[int, int, int]:
    answer = client.get("/v1/gallery", headers=WITH_TOKEN).get_json()
    return answer["persons"], answer["faces"], answer["version"]


def test_a_person_is_created_and_then_exists(client: FlaskClient):
    responses = [client.put("/v1/persons/ann", headers=WITH_TOKEN) for _ in range(2)]
    assert [response.status_code for response in responses] == [201, 200]
    assert responses[0].get_json() == {"person_id": "ann", "faces": []}


def test_a_face_is_enrolled_and_found(client: FlaskClient):
    response = enrol(client, "ann", paint(RED), "f1")
    answer = response.get_json()
    assert response.status_code == 201
    assert list(answer) == ["person_id", "face_id", "quality", "warnings", "box", "gallery"]
    assert (answer["person_id"], answer["face_id"]) == ("ann", "f1")
    assert answer["box"] == [40.0, 40.0, 112.0, 112.0]
    assert answer["gallery"] == {"persons": 1, "faces": 1, "version": 1}
    found = upload(client, "/v1/match", paint(RED)).get_json()["candidates"]
    assert [candidate["person_id"] for candidate in found] == ["ann"]


def test_a_face_without_an_identifier_is_given_one(client: FlaskClient):
    client.put("/v1/persons/ann", headers=WITH_TOKEN)
    answer = upload(client, "/v1/persons/ann/faces", paint(RED)).get_json()
    listed = client.get("/v1/persons", headers=WITH_TOKEN).get_json()
    assert [face["face_id"] for face in listed["persons"][0]["faces"]] == [answer["face_id"]]


def test_an_enrolment_may_be_repeated(client: FlaskClient):
    first = enrol(client, "ann", paint(RED), "f1")
    again = enrol(client, "ann", paint(RED), "f1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert gallery(client) == (1, 1, 1)


@pytest.mark.parametrize(
    ("person_id", "photo", "options"),
    [
        ("ann", paint(GREEN), {}),
        ("bob", paint(RED, BLUE), {}),
        ("ann", paint(RED, BLUE), {"face": 1}),
    ],
    ids=["another-photo", "another-person", "another-face"],
)
def test_a_face_identifier_is_not_used_twice(client: FlaskClient, person_id, photo, options):
    assert enrol(client, "ann", paint(RED, BLUE), "f1").status_code == 201
    client.put("/v1/persons/bob", headers=WITH_TOKEN)
    again = upload(client, f"/v1/persons/{person_id}/faces", photo, face_id="f1", **options)
    assert (again.status_code, problem_of(again)) == (409, "face-id-in-use")
    assert gallery(client) == (1, 1, 1)


def test_the_callers_face_is_enrolled_without_a_warning(client: FlaskClient):
    client.put("/v1/persons/ann", headers=WITH_TOKEN)
    photo = paint(RED, BLUE)
    chosen = upload(client, "/v1/persons/ann/faces", photo, face=1).get_json()
    unsaid = upload(client, "/v1/persons/ann/faces", photo).get_json()
    assert "several_faces" not in chosen["warnings"]
    assert "several_faces" in unsaid["warnings"]
    assert chosen["box"] != unsaid["box"]


def test_a_deleted_person_is_found_no_more(client: FlaskClient):
    enrol(client, "ann", paint(RED), "f1")
    response = client.delete("/v1/persons/ann", headers=WITH_TOKEN)
    assert (response.status_code, response.data) == (204, b"")
    assert upload(client, "/v1/match", paint(RED)).get_json()["candidates"] == []
    assert gallery(client) == (0, 0, 2)


def test_a_deleted_face_is_found_no_more(client: FlaskClient):
    enrol(client, "ann", paint(RED), "f1")
    enrol(client, "ann", paint(GREEN), "f2")
    response = client.delete("/v1/persons/ann/faces/f1", headers=WITH_TOKEN)
    assert response.status_code == 204
    (found,) = upload(client, "/v1/match", paint(RED)).get_json()["candidates"]
    assert found["face_id"] == "f2"
    assert gallery(client) == (1, 1, 3)


@pytest.mark.parametrize(
    ("address", "slug"),
    [
        ("/v1/persons/nobody", "person-not-found"),
        ("/v1/persons/nobody/faces/f1", "person-not-found"),
        ("/v1/persons/ann/faces/f9", "face-not-found"),
    ],
)
def test_what_is_not_there_cannot_be_deleted(client: FlaskClient, address: str, slug: str):
    enrol(client, "ann", paint(RED), "f1")
    response = client.delete(address, headers=WITH_TOKEN)
    assert (response.status_code, problem_of(response)) == (404, slug)


def test_nobody_can_be_given_a_face(client: FlaskClient):
    response = upload(client, "/v1/persons/nobody/faces", paint(RED))
    assert (response.status_code, problem_of(response)) == (404, "person-not-found")


def test_persons_are_listed_page_by_page(client: FlaskClient):
    for person_id in ("cid", "ann", "bob"):
        client.put(f"/v1/persons/{person_id}", headers=WITH_TOKEN)
    seen, query = [], "?limit=2"
    while query:
        page = client.get(f"/v1/persons{query}", headers=WITH_TOKEN).get_json()
        seen.append([person["person_id"] for person in page["persons"]])
        query = page["next_cursor"] and f"?limit=2&cursor={page['next_cursor']}"
    assert seen == [["ann", "bob"], ["cid"]]


def test_a_listed_face_tells_when_it_was_enrolled(client: FlaskClient, file_store: SqlStore):
    file_store.add_person("ann")
    file_store.add_face(reference("ann", "f1"))
    (person,) = client.get("/v1/persons", headers=WITH_TOKEN).get_json()["persons"]
    assert person["faces"] == [
        {"face_id": "f1", "quality": 77, "created_at": "2026-02-03T04:05:06.000789+00:00"}
    ]


def test_the_gallery_names_the_networks_that_search_it(client: FlaskClient):
    answer = client.get("/v1/gallery", headers=WITH_TOKEN).get_json()
    assert answer == {
        "persons": 0,
        "faces": 0,
        "version": 0,
        "models": answering_models(),
    }


def test_two_workers_see_each_others_enrolments_at_once(settings: Settings, tmp_path):
    stores = [SqlStore(f"sqlite:///{tmp_path}/shared.db") for _ in range(2)]
    here, there = (client_of(settings, painted_pipeline(), store) for store in stores)
    assert gallery(there) == (0, 0, 0)
    enrol(here, "ann", paint(RED), "f1")
    (found,) = upload(there, "/v1/match", paint(RED)).get_json()["candidates"]
    assert found["person_id"] == "ann"
    there.delete("/v1/persons/ann", headers=WITH_TOKEN)
    assert upload(here, "/v1/match", paint(RED)).get_json()["candidates"] == []
    for store in stores:
        store.close()


def test_a_face_of_older_networks_is_searched_once_it_is_enrolled_anew(
    settings: Settings, file_store: SqlStore
):
    older = painted_pipeline(PaintedEngine(graphs={**GRAPHS, "heatmap": "0" * 64}))
    enrol(client_of(settings, older, file_store), "ann", paint(RED), "f1")
    client = client_of(settings, painted_pipeline(), file_store)
    assert gallery(client) == (0, 0, 1)
    assert enrol(client, "ann", paint(RED), "f1").status_code == 200
    assert gallery(client) == (1, 1, 2)
