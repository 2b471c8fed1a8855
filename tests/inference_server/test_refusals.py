"""Whatever is wrong with a request, its answer is a problem document that says so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from face_models.errors import EmbeddingFailed
from face_models.pipeline import PipelineSettings
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.callers import WITH_TOKEN, client_of, enrol, problem_of, upload
from tests.inference_server.painted_people import (
    BLUE,
    RED,
    PaintedEngine,
    paint,
    painted_pipeline,
)

GOOD = paint(RED)


def encoded(kind: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), RED).save(file, kind)
    return file.getvalue()


def bomb_png() -> bytes:
    """60,000 x 60,000 pixels by its header."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return GOOD[:8] + chunk + GOOD[33:]


PHOTOS = {
    "empty": (b"", 400, "empty-photo"),
    "text": (b"not a picture", 415, "unsupported-image-type"),
    "html": (b"<html><body>hello</body></html>", 415, "unsupported-image-type"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported-image-type"),
    "gif": (encoded("GIF"), 415, "unsupported-image-type"),
    "bmp": (encoded("BMP"), 415, "unsupported-image-type"),
    "tiff": (encoded("TIFF"), 415, "unsupported-image-type"),
    "pdf": (b"%PDF-1.7 and so on", 415, "unsupported-image-type"),
    "truncated-jpeg": (encoded("JPEG")[:-200], 422, "unreadable-image"),
    "truncated-png": (GOOD[: len(GOOD) // 2], 422, "unreadable-image"),
    "header-only": (b"\xff\xd8\xff", 422, "unreadable-image"),
    "bomb": (bomb_png(), 422, "too-many-pixels"),
    "too-many-bytes": (GOOD + bytes(210_000), 413, "photo-too-large"),
    "far-too-many-bytes": (GOOD + bytes(400_000), 413, "photo-too-large"),
    "nobody": (paint(), 422, "no-face"),
    "tiny-face": (paint(RED, face_px=12), 422, "face-too-small"),
}


@pytest.mark.parametrize("address", ["/v1/match", "/v1/heatmap", "/v1/persons/ann/faces"])
@pytest.mark.parametrize("case", PHOTOS)
def test_a_photo_that_cannot_be_used_is_refused_by_name(
    client: FlaskClient, address: str, case: str
):
    photo, status, slug = PHOTOS[case]
    client.put("/v1/persons/ann", headers=WITH_TOKEN)
    response = upload(client, address, photo)
    assert (response.status_code, problem_of(response)) == (status, slug)


@pytest.mark.parametrize("case", PHOTOS)
def test_a_raw_photo_is_refused_as_one_in_a_form(client: FlaskClient, case: str):
    photo, status, slug = PHOTOS[case]
    headers = {**WITH_TOKEN, "Content-Type": "image/jpeg"}
    response = client.post("/v1/match", data=photo, headers=headers)
    assert (response.status_code, problem_of(response)) == (status, slug)


OPTIONS = {
    "top-k-of-zero": {"top_k": "0"},
    "top-k-too-large": {"top_k": "51"},
    "top-k-huge": {"top_k": "9" * 400},
    "top-k-negative": {"top_k": "-1"},
    "top-k-nan": {"top_k": "NaN"},
    "top-k-fraction": {"top_k": "2.5"},
    "top-k-exponent": {"top_k": "1e1"},
    "top-k-spaced": {"top_k": " 5"},
    "top-k-in-other-digits": {"top_k": "٥"},
    "top-k-empty": {"top_k": ""},
    "unknown-model": {"model": "resnet"},
    "model-in-capitals": {"model": "Base"},
    "face-negative": {"face": "-1"},
    "face-a-word": {"face": "first"},
    "unknown-option": {"topk": "5"},
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("place", ["form", "query"])
def test_an_option_out_of_its_range_is_refused_by_name(client: FlaskClient, case: str, place: str):
    options = OPTIONS[case]
    if place == "form":
        response = upload(client, "/v1/match", GOOD, **options)
    else:
        response = client.post(
            "/v1/match",
            query_string=options,
            data=GOOD,
            headers={**WITH_TOKEN, "Content-Type": "image/png"},
        )
    assert (response.status_code, problem_of(response)) == (400, "invalid-option")
    assert next(iter(options)) in response.get_json()["detail"]


def post(
    client: FlaskClient, data: object, content_type: str | None = None, query: str = ""
) -> TestResponse:
    return client.post(
        f"/v1/match{query}", data=data, content_type=content_type, headers=WITH_TOKEN
    )


def photo_file() -> tuple[BytesIO, str]:
    return BytesIO(GOOD), "photo.png"


BODIES: dict[str, tuple[Callable[[FlaskClient], TestResponse], int, str]] = {
    "nothing": (lambda c: post(c, None), 400, "photo-missing"),
    "json": (lambda c: post(c, "{}", "application/json"), 400, "photo-missing"),
    "url-encoded": (lambda c: post(c, {"photo": "text"}), 400, "photo-missing"),
    "bytes-of-no-type": (
        lambda c: post(c, GOOD, "application/octet-stream"),
        400,
        "photo-missing",
    ),
    "empty-form": (
        lambda c: post(c, b"--b--\r\n", "multipart/form-data; boundary=b"),
        400,
        "photo-missing",
    ),
    "no-boundary": (lambda c: post(c, b"--b--\r\n", "multipart/form-data"), 400, "photo-missing"),
    "another-boundary": (
        lambda c: post(c, b"--a\r\n\r\n--a--\r\n", "multipart/form-data; boundary=b"),
        400,
        "photo-missing",
    ),
    "form-cut-off": (
        lambda c: post(
            c,
            b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n' + GOOD,
            "multipart/form-data; boundary=b",
        ),
        400,
        "photo-missing",
    ),
    "wrong-field": (lambda c: post(c, {"image": photo_file()}), 400, "photo-missing"),
    "text-in-the-photos-field": (
        lambda c: post(c, {"photo": "text"}, "multipart/form-data"),
        400,
        "photo-missing",
    ),
    "two-photos": (
        lambda c: post(c, MultiDict([("photo", photo_file()), ("photo", photo_file())])),
        400,
        "invalid-option",
    ),
    "a-second-file": (
        lambda c: post(c, {"photo": photo_file(), "other": photo_file()}),
        400,
        "photo-missing",
    ),
    "an-option-twice": (
        lambda c: post(c, MultiDict([("photo", photo_file()), ("face", "0"), ("face", "0")])),
        400,
        "invalid-option",
    ),
    "an-option-in-form-and-query": (
        lambda c: post(c, {"photo": photo_file(), "top_k": "3"}, query="?top_k=3"),
        400,
        "invalid-option",
    ),
    "a-field-of-megabytes": (
        lambda c: post(c, {"photo": photo_file(), "model": "x" * 100_000}),
        413,
        "photo-too-large",
    ),
    "hundreds-of-fields": (
        lambda c: post(c, {"photo": photo_file(), **{f"f{i}": "x" for i in range(300)}}),
        413,
        "photo-too-large",
    ),
    "no-such-face": (lambda c: upload(c, "/v1/match", GOOD, face=1), 422, "no-such-face"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_not_one_photo_is_refused(client: FlaskClient, case: str):
    send, status, slug = BODIES[case]
    response = send(client)
    assert (response.status_code, problem_of(response)) == (status, slug)


TOKENS = {
    "none": {},
    "empty": {"Authorization": ""},
    "scheme-alone": {"Authorization": "Bearer"},
    "another": {"Authorization": "Bearer an internal token of enough character5"},
    "longer": {"Authorization": WITH_TOKEN["Authorization"] + "s"},
    "basic": {"Authorization": WITH_TOKEN["Authorization"].replace("Bearer", "Basic")},
    "not-ascii": {"Authorization": "Bearer \xe9\xe9\xe9"},
}


@pytest.mark.parametrize("case", TOKENS)
@pytest.mark.parametrize(
    ("method", "address"),
    [("POST", "/v1/match"), ("GET", "/v1/gallery"), ("DELETE", "/v1/persons/x"), ("GET", "/x")],
)
def test_nobody_enters_without_the_token(client: FlaskClient, method: str, address: str, case: str):
    response = client.open(address, method=method, headers=TOKENS[case])
    assert (response.status_code, problem_of(response)) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_the_tokens_scheme_is_written_in_any_case(client: FlaskClient):
    headers = {"Authorization": WITH_TOKEN["Authorization"].replace("Bearer", "bearer")}
    assert client.get("/v1/gallery", headers=headers).status_code == 200


@pytest.mark.parametrize("address", ["/", "/v1", "/v1/match/", "//v1/match", "/v1/persons//faces"])
def test_an_unknown_address_is_not_found_and_never_redirected(client: FlaskClient, address: str):
    response = client.post(address, headers=WITH_TOKEN)
    assert (response.status_code, problem_of(response)) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("GET", "/v1/match", {"POST"}),
        ("OPTIONS", "/v1/match", {"POST"}),
        ("POST", "/v1/gallery", {"GET", "HEAD"}),
        ("PATCH", "/v1/persons/ann", {"PUT", "DELETE"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_ones(
    client: FlaskClient, method: str, address: str, allowed: set[str]
):
    response = client.open(address, method=method, headers=WITH_TOKEN)
    assert (response.status_code, problem_of(response)) == (405, "method-not-allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


IDENTIFIERS = {
    "too-long": "a" * 65,
    "dots": "..",
    "encoded-space": "a%20b",
    "quote": "a'b",
    "null": "a%00b",
    "other-letters": "%C3%A9",
    "newline-at-the-end": "ann%0A",
}


@pytest.mark.parametrize("case", IDENTIFIERS)
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("PUT", "/v1/persons/{}"),
        ("DELETE", "/v1/persons/{}"),
        ("DELETE", "/v1/persons/ann/faces/{}"),
    ],
)
def test_an_identifier_is_of_letters_digits_hyphens_and_underscores(
    client: FlaskClient, method: str, address: str, case: str
):
    path = address.format(IDENTIFIERS[case])
    response = client.open(path, method=method, headers=WITH_TOKEN)
    assert (response.status_code, problem_of(response)) == (400, "invalid-option")


@pytest.mark.parametrize("face_id", ["", "a b", "../../etc", "a" * 65, "ann\n"])
def test_a_face_identifier_follows_the_same_rule(client: FlaskClient, face_id: str):
    response = enrol(client, "ann", GOOD, face_id)
    assert (response.status_code, problem_of(response)) == (400, "invalid-option")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=many",
        "cursor=",
        "cursor=%21%21",
        "cursor=YQ",
        "cursor=w6k=",
        "cursor=Li4vLi4=",
        "cursor=YQ==&cursor=YQ==",
        "after=ann",
    ],
)
def test_a_page_that_cannot_be_meant_is_refused(client: FlaskClient, query: str):
    response = client.get(f"/v1/persons?{query}", headers=WITH_TOKEN)
    assert (response.status_code, problem_of(response)) == (400, "invalid-option")


def test_a_face_of_poor_quality_is_refused(settings: Settings, file_store: SqlStore):
    demanding = painted_pipeline(settings=PipelineSettings(min_quality=100))
    response = upload(client_of(settings, demanding, file_store), "/v1/match", GOOD)
    assert (response.status_code, problem_of(response)) == (422, "quality-too-low")


@pytest.mark.parametrize(
    ("failure", "slug"),
    [
        (EmbeddingFailed("ONNX Runtime failed: no luck"), "embedding-failed"),
        (RuntimeError("nobody foresaw this"), "internal-error"),
    ],
)
def test_a_failure_of_the_networks_is_ours_and_tells_no_secrets(
    settings: Settings, file_store: SqlStore, failure: Exception, slug: str
):
    client = client_of(settings, painted_pipeline(PaintedEngine(failure)), file_store)
    for address in ("/v1/match", "/v1/heatmap"):
        response = upload(client, address, GOOD)
        assert (response.status_code, problem_of(response)) == (500, slug)
        assert "Traceback" not in response.text
        assert "foresaw" not in response.text


def test_a_store_that_is_away_is_said_to_be_away(settings: Settings):
    away = SqlStore("sqlite:////proc/none/gallery.db")
    client = client_of(settings, painted_pipeline(), away)
    responses = [
        upload(client, "/v1/match", GOOD),
        upload(client, "/v1/persons/ann/faces", GOOD),
        client.put("/v1/persons/ann", headers=WITH_TOKEN),
        client.delete("/v1/persons/ann", headers=WITH_TOKEN),
        client.get("/v1/persons", headers=WITH_TOKEN),
        client.get("/v1/gallery", headers=WITH_TOKEN),
        client.get("/readyz"),
    ]
    for response in responses:
        assert (response.status_code, problem_of(response)) == (503, "store-unavailable")
        assert response.headers["Retry-After"] == "5"
    assert upload(client, "/v1/faces", GOOD).status_code == 200


def test_a_refused_enrolment_leaves_nothing_behind(client: FlaskClient):
    client.put("/v1/persons/ann", headers=WITH_TOKEN)
    upload(client, "/v1/persons/ann/faces", paint(RED, BLUE), face=5)
    answer = client.get("/v1/gallery", headers=WITH_TOKEN).get_json()
    assert (answer["faces"], answer["version"]) == (0, 0)


@pytest.mark.parametrize("filler", [b"\r\n", b"\n", b"--", b"\r\n--", bytes(range(256))])
def test_a_photo_of_many_pieces_is_whole_whatever_it_looks_like(client: FlaskClient, filler: bytes):
    """A piece may end like a boundary begins, and what is kept of it is no reason to refuse."""
    padding = (filler * 180_000)[:180_000]
    for cut in range(0, 80, 7):
        response = upload(client, "/v1/match", GOOD + padding[cut:])
        assert response.status_code == 200, response.json
