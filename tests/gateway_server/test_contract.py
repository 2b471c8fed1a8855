"""The OpenAPI document says what the gateway does: what Schemathesis found is held here."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema_rs import validator_for

from gateway_server.image_header import TYPES
from tests.gateway_server.conftest import ONE_ENGINE, search
from tests.gateway_server.photos import make_photo

pytestmark = ONE_ENGINE
READS_A_BODY = "requestBody"
MAKES = {
    ("POST", "/v1/searches"),
    ("POST", "/v1/persons"),
    ("POST", "/v1/persons/{person_id}/faces"),
    ("POST", "/v1/imports"),
    ("POST", "/v1/keys"),
}
Operation = Mapping[str, Any]


@pytest.fixture
def document(running) -> Mapping[str, Any]:
    found: Mapping[str, Any] = running.app.openapi()
    return found


def operations(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Operation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method.upper(), path), operation


async def test_whatever_reads_a_body_documents_what_may_be_wrong_with_any(document):
    for name, operation in operations(document):
        if READS_A_BODY in operation:
            assert operation["responses"].keys() >= {"400", "408", "413", "415"}, name


async def test_headers_that_answers_always_have_are_documented(document):
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            headers = answer.get("headers", {}).keys()
            assert ("WWW-Authenticate" in headers) == (status == "401"), (name, status)
            assert ("Retry-After" in headers) == (status in {"429", "503"}), (name, status)
            if name in MAKES and status < "300":
                assert "Location" in headers, (name, status)


async def test_what_is_no_json_is_documented_by_its_media_types(document):
    told = {
        path: set(operation["responses"]["200"]["content"])
        for (_, path), operation in operations(document)
        if path == "/metrics" or path.endswith(("/photo", "/heatmap"))
    }

    assert told.pop("/metrics") == {"text/plain"}
    candidate = "/v1/searches/{search_id}/candidates/{person_id}"
    face = "/v1/persons/{person_id}/faces/{face_id}"
    for photo in ("/v1/searches/{search_id}", candidate, face):
        assert told.pop(f"{photo}/photo") == set(TYPES)
    assert len(told) == 2
    assert all(kinds == {"image/png"} for kinds in told.values())


async def test_forms_document_the_media_types_of_their_files_and_know_no_other_fields(document):
    for name, operation in operations(document):
        form = operation.get(READS_A_BODY, {}).get("content", {}).get("multipart/form-data")
        if form is None:
            continue
        files = {
            field
            for field, schema in form["schema"]["properties"].items()
            if "contentMediaType" in (schema | schema.get("items", {}))
        }
        assert form["encoding"].keys() == files, name
        assert form["schema"]["additionalProperties"] is False, name


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "\x7f", "a-name_~!"], ids=repr)
async def test_the_documented_shape_of_an_idempotency_key_is_the_one_demanded(
    operator, document, key: str
):
    (stated,) = (
        parameter["schema"]
        for parameter in document["paths"]["/v1/failures/retry"]["post"]["parameters"]
        if parameter["name"] == "Idempotency-Key"
    )
    answer = await operator.post("/v1/failures/retry", headers={"Idempotency-Key": key})

    assert (answer.status_code == 202) == validator_for(stated).is_valid(key)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": ""},
        {"name": " \u3000"},
        {"name": "Ada"},
        {"reference": "x" * 201},
        {"reference": None},
        {"notes": "x" * 10_001},
        {"birth_date": ""},
        {"birth_date": None},
        {"birth_date": "1990-05-17"},
        {"birth_date": "19900517"},
        {"birth_date": "1990-W20-4"},
        {"missing_since": "1990-02-30"},
        {"status": "lost"},
    ],
    ids=lambda change: str(change)[:40],
)
async def test_a_change_is_taken_if_it_has_the_documented_shape(
    operator, document, enrol, change: dict[str, str | None]
):
    person = await enrol("Ada", make_photo(1))
    body = document["paths"]["/v1/persons/{person_id}"]["patch"][READS_A_BODY]
    stated = validator_for(body["content"]["application/json"]["schema"], validate_formats=True)

    answer = await operator.patch(f"/v1/persons/{person['id']}", json=change)

    assert (answer.status_code == 200) == stated.is_valid(change), answer.text


@pytest.mark.parametrize("grace_s", [60, 60.0, 60.5, "60", True, -1, 10**9], ids=repr)
async def test_a_rotation_is_done_if_it_has_the_documented_shape(running, document, grace_s):
    """JSON Schema counts 60.0 among the integers."""
    body = document["paths"]["/v1/keys/{key_id}/rotate"]["post"][READS_A_BODY]
    stated = validator_for(body["content"]["application/json"]["schema"])
    key_id = running.keys["mobile"].split("_")[1]

    async with running.client(running.keys["admin"]) as admin:
        answer = await admin.post(f"/v1/keys/{key_id}/rotate", json={"grace_s": grace_s})

    assert (answer.status_code == 200) == stated.is_valid({"grace_s": grace_s}), answer.text


@pytest.mark.parametrize("since", ["yesterday", "2026-01-15", "2026-01-15T09:30:00Z", "0"])
async def test_the_audit_is_listed_since_what_is_documented(running, document, since: str):
    (stated,) = (
        parameter["schema"]
        for parameter in document["paths"]["/v1/audit"]["get"]["parameters"]
        if parameter["name"] == "since"
    )
    async with running.client(running.keys["admin"]) as admin:
        answer = await admin.get("/v1/audit", params={"since": since})

    is_documented = validator_for(stated, validate_formats=True).is_valid(since)
    assert (answer.status_code == 200) == is_documented, answer.text


async def test_a_photo_is_answered_as_one_of_the_documented_types(phone):
    found = (await search(phone, make_photo(1))).json()

    answer = await phone.get(f"/v1/searches/{found['id']}/photo")

    assert answer.headers["content-type"] in TYPES
