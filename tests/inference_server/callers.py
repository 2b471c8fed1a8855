"""How the gateway would call."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from face_models.pipeline import Pipeline
from inference_server.app import create_app
from inference_server.face_pipeline import stamp_of
from inference_server.gallery import Gallery
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings

TOKEN = "an internal token of enough characters"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


def client_of(settings: Settings, pipeline: Pipeline, store: SqlStore) -> FlaskClient:
    index = ExactIndex(store, stamp_of(pipeline))
    return create_app(settings, pipeline, Gallery(store, index)).test_client()


def upload(
    client: FlaskClient, address: str, photo: bytes, headers: Any = (), **options: object
) -> TestResponse:
    form = {name: str(value) for name, value in options.items()}
    data = {**form, "photo": (BytesIO(photo), "photo")}
    return client.post(address, data=data, headers={**WITH_TOKEN, **dict(headers)})


def enrol(client: FlaskClient, person_id: str, photo: bytes, face_id: str) -> TestResponse:
    assert client.put(f"/v1/persons/{person_id}", headers=WITH_TOKEN).status_code in (200, 201)
    return upload(client, f"/v1/persons/{person_id}/faces", photo, face_id=face_id)


def problem_of(response: TestResponse) -> str:
    """The slug, once the document is as it must be."""
    assert response.content_type == "application/problem+json"
    document = response.get_json()
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert document["title"]
    assert document["detail"]
    kind: str = document["type"]
    return kind.removeprefix("urn:reunite:problem:")
