"""The table of bad requests: each meets its own problem type, and none a 500."""

import gzip
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest

from tests.gateway_server.conftest import MAX_PHOTO_BYTES, Running, slug_of
from tests.gateway_server.fake_inference import FakeInference
from tests.gateway_server.photos import make_photo, make_png_that_claims, make_webp_that_claims

JPEG = make_photo(1)
NO_FACE, TINY_FACE, BLURRED, CUT_SHORT = (make_photo(seed) for seed in (20, 21, 22, 23))
NOBODY = "00000000-0000-4000-8000-000000000000"
SEARCHES, PERSONS = "/v1/searches", "/v1/persons"
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=edge"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@dataclass(frozen=True)
class Bad:
    """A request, and in plain words the reason why it is refused."""

    case: str
    reason: str
    status: int
    slug: str
    address: str = SEARCHES
    method: str = "POST"
    role: str | None = "operator"
    request: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.case


def photo(data: bytes, name: str = "photo", filename: str = "face.jpg") -> dict[str, Any]:
    return {"files": [(name, (filename, data))]}


def fields(**texts: Any) -> dict[str, Any]:
    return {**photo(JPEG), "data": texts}


def person(*photos: bytes, **texts: Any) -> dict[str, Any]:
    files = [("photos[]", ("face.jpg", data)) for data in photos or (JPEG,)]
    return {"files": files, "data": {"name": "Ada", **texts}}


def raw(body: bytes, **headers: str) -> dict[str, Any]:
    return {"content": body, "headers": {**BOUNDARY, **headers}}


def part(headers: str, body: bytes = JPEG, end: bytes = b"--") -> bytes:
    return b"--edge\r\n" + headers.encode() + b"\r\n\r\n" + body + b"\r\n--edge" + end + b"\r\n"


def gif() -> bytes:
    return make_photo(kind="GIF")


def zipped() -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("face.jpg", JPEG)
    return archive.getvalue()


PHOTO_PART = 'Content-Disposition: form-data; name="photo"; filename="a.jpg"'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'

UNSUPPORTED = ("its content is no supported picture", 415, "unsupported-image-type")
UNREADABLE = ("the picture is damaged", 422, "unreadable-image")
PIXELS = ("the picture has too many pixels", 422, "too-many-pixels")
BYTES = ("the photo has too many bytes", 413, "photo-too-large")
BROKEN = ("the form is damaged", 400, "broken-multipart")
NO_FORM = ("the body is no form", 415, "not-multipart")
FIELD = ("a field has an unknown name", 400, "unknown-field")
TOP_K = ("top_k is out of range", 422, "invalid-top-k")
FACE_INDEX = ("face is no face's number", 422, "invalid-face-index")
TEXT = ("a text holds what no text holds", 422, "invalid-text")
LONG = ("a text is too long", 400, "field-too-long")
NAME = ("the person has no name", 422, "invalid-name")
DATE = ("a date is no date", 422, "invalid-date")
KEY = ("there is no valid key", 401, "unauthorized")
ROLE = ("the key's role may not", 403, "forbidden")
NO_SEARCH = ("there is no such search", 404, "search-not-found")
NO_PERSON = ("there is no such person", 404, "person-not-found")
SHAPE = ("the JSON has another shape", 422, "invalid-body")
CURSOR = ("the cursor is made up", 422, "invalid-cursor")
LIMIT = ("a query parameter is out of range", 422, "invalid-parameter")
ONE_PERSON, NO_ROUTE = f"{PERSONS}/{NOBODY}", ("there is no such address", 404, "not-found")


def change(**members: Any) -> dict[str, Any]:
    return {"json": members}


BAD = [
    Bad("an empty photo", "the photo is empty", 400, "empty-photo", request=photo(b"")),
    Bad("a text named .jpg", *UNSUPPORTED, request=photo(b"I am a JPEG, believe me")),
    Bad("a text of three bytes", *UNSUPPORTED, request=photo(b"abc")),
    Bad("a GIF named .jpg", *UNSUPPORTED, request=photo(gif())),
    Bad("an SVG with a script", *UNSUPPORTED, request=photo(SVG, filename="a.svg")),
    Bad("a PDF", *UNSUPPORTED, request=photo(b"%PDF-1.7\n" + b"0" * 99)),
    Bad("an archive of photos", *UNSUPPORTED, request=photo(zipped())),
    Bad("a gzipped photo", *UNSUPPORTED, request=photo(gzip.compress(JPEG))),
    Bad("a JPEG cut within its header", *UNREADABLE, request=photo(JPEG[:40])),
    Bad("a JPEG cut within its picture", *UNREADABLE, request=photo(CUT_SHORT)),
    Bad("a PNG of its signature", *UNREADABLE, request=photo(b"\x89PNG\r\n\x1a\n" + b"\0" * 9)),
    Bad("a WebP of its signature", *UNREADABLE, request=photo(b"RIFF\0\0\0\0WEBPVP8 ")),
    Bad("a PNG of no pixels", *UNREADABLE, request=photo(make_png_that_claims(0, 9))),
    Bad("a PNG of a few pixels too many", *PIXELS, request=photo(make_png_that_claims(1001, 1000))),
    Bad("a WebP bomb", *PIXELS, request=photo(make_webp_that_claims(16_383, 16_383))),
    Bad("a PNG bomb", *PIXELS, request=photo(make_png_that_claims(50_000, 50_000))),
    Bad("a photo of too many bytes", *BYTES, request=photo(JPEG + b"\0" * MAX_PHOTO_BYTES)),
    Bad("a body said to be huge", *BYTES, request=raw(b"", **{"Content-Length": str(10**12)})),
    Bad("no face", "nobody is in the photo", 422, "no-face", request=photo(NO_FACE)),
    Bad("a tiny face", "the face is too small", 422, "face-too-small", request=photo(TINY_FACE)),
    Bad("a blurred face", "the face is too bad", 422, "quality-too-low", request=photo(BLURRED)),
    Bad("a photo named image", "the file's field is another", 400, "wrong-photo-field",
        request=photo(JPEG, name="image")),
    Bad("two photos", "there are too many photos", 400, "too-many-photos",
        request={"files": [("photo", JPEG), ("photo", JPEG)]}),
    Bad("no photo", "there is no photo", 400, "photo-missing",
        request=raw(part('Content-Disposition: form-data; name="top_k"', b"5"))),
    Bad("an empty form", "there is no photo", 400, "photo-missing", request=raw(b"--edge--\r\n")),
    Bad("an unknown field", *FIELD, request=fields(limit="5")),
    Bad("a field named with a path", *FIELD, request=fields(**{"../../top_k": "5"})),
    Bad("top_k twice", "a field came twice", 400, "repeated-field", request=fields(top_k=[5, 6])),
    Bad("JSON instead of a form", *NO_FORM, request={"json": {"photo": "…"}}),
    Bad("no body at all", *NO_FORM),
    Bad("a form of the other kind", *NO_FORM, request={"data": {"photo": "…"}}),
    Bad("no boundary named", *BROKEN,
        request={"content": b"", "headers": {"Content-Type": "multipart/form-data"}}),
    Bad("a boundary of 300 letters", *BROKEN,
        request=raw(b"", **{"Content-Type": "multipart/form-data; boundary=" + "e" * 300})),
    Bad("a body of noise", *BROKEN, request=raw(bytes(range(256)) * 8)),
    Bad("an empty body", *BROKEN, request=raw(b"")),
    Bad("a form without its end", *BROKEN, request=raw(part(PHOTO_PART, end=b""))),
    Bad("a part without a name", *BROKEN, request=raw(part("Content-Disposition: form-data"))),
    Bad("a part without headers", *BROKEN, request=raw(part("X: y"))),
    Bad("a filename of 9,000 letters", *BROKEN, request=photo(JPEG, filename="a" * 9000)),
    Bad("top_k 0", *TOP_K, request=fields(top_k="0")),
    Bad("top_k 51", *TOP_K, request=fields(top_k="51")),
    Bad("a huge top_k", *TOP_K, request=fields(top_k="9" * 40)),
    Bad("top_k in words", *TOP_K, request=fields(top_k="five")),
    Bad("top_k in other digits", *TOP_K, request=fields(top_k="\u0665")),
    Bad("a model of another house", "there is no such model", 422, "invalid-model",
        request=fields(model="arcface")),
    Bad("face -1", *FACE_INDEX, request=fields(face="-1")),
    Bad("face 10^9", *FACE_INDEX, request=fields(face="1000000000")),
    Bad("face 7 of a photo with one", "there is no such face in the photo", 422, "no-such-face",
        request={**photo(make_photo(24)), "data": {"face": "7"}}),
    Bad("a case reference of 9,000 letters", *LONG, request=fields(case_reference="x" * 9000)),
    Bad("a case reference of 201 letters", *LONG, request=fields(case_reference="x" * 201)),
    Bad("a NUL in the purpose", *TEXT, request=fields(purpose="a\0b")),
    Bad("a newline in the purpose", *TEXT, request=fields(purpose="a\r\nX-Injected: yes")),
    Bad("a purpose in latin-1", *TEXT,
        request={**photo(JPEG), "data": {"purpose": "Ä".encode("latin-1")}}),
    Bad("no key", *KEY, role=None, request=photo(JPEG)),
    Bad("an invented key", *KEY, role="rk_0123456789ab_invented", request=photo(JPEG)),
    Bad("a key of noise", *KEY, role="\x7f; DROP TABLE api_key", request=photo(JPEG)),
    Bad("the right key in the wrong place", *KEY, role=None,
        request={**photo(JPEG), "params": {"key": "rk_0123456789ab_x"}}),
    Bad("a phone lists people", *ROLE, address=PERSONS, method="GET", role="mobile"),
    Bad("a phone registers somebody", *ROLE, address=PERSONS, role="mobile", request=person()),
    Bad("a phone reads failures", *ROLE, address="/v1/failures", method="GET", role="mobile"),
    Bad("a person without a name", *NAME, address=PERSONS, request=photo(JPEG, "photos[]")),
    Bad("a person named by blanks", *NAME, address=PERSONS, request=person(name=" \u3000")),
    Bad("a name with a NUL", *TEXT, address=PERSONS, request=person(name="Ada\0")),
    Bad("a name turned around", *TEXT, address=PERSONS, request=person(name="\u202egpj.exe")),
    Bad("a name of 10,000 letters", *LONG, address=PERSONS, request=person(name="A" * 10_000)),
    Bad("a birthday on 30 February", *DATE, address=PERSONS,
        request=person(birth_date="1990-02-30")),
    Bad("a birthday in another order", *DATE, address=PERSONS,
        request=person(birth_date="17.05.1990")),
    Bad("a birthday without dashes", *DATE, address=PERSONS,
        request=person(birth_date="19900517")),
    Bad("a birthday by its week", *DATE, address=PERSONS, request=person(birth_date="1990-W20-4")),
    Bad("missing since yesterday", *DATE, address=PERSONS,
        request=person(missing_since="yesterday")),
    Bad("a person with no photo", "there is no photo", 400, "photo-missing", address=PERSONS,
        request={"files": [("name", (None, b"Ada"))]}),
    Bad("a person with five photos", "there are too many photos", 400, "too-many-photos",
        address=PERSONS, request=person(*[JPEG] * 5)),
    Bad("a person in no photo", "no photo could be enrolled", 422, "no-photo-accepted",
        address=PERSONS, request=person(NO_FACE, TINY_FACE)),
    Bad("an enrolment said to be huge", "the request has too many bytes", 413,
        "request-too-large", address=PERSONS,
        request=raw(b"", **{"Content-Length": str(10**12)})),
    Bad("an unknown search", *NO_SEARCH, address=f"{SEARCHES}/{NOBODY}", method="GET"),
    Bad("a search named by a path", *NO_SEARCH, method="GET",
        address=f"{SEARCHES}/..%5c..%5cetc%5cpasswd"),
    Bad("a search named NUL", *NO_SEARCH, address=f"{SEARCHES}/%00", method="GET"),
    Bad("a photo named by a path", *NO_ROUTE, method="GET",
        address=f"{SEARCHES}/..%2f..%2f..%2fetc%2fpasswd/photo"),
    Bad("an unknown person", *NO_PERSON, address=ONE_PERSON, method="GET"),
    Bad("a person named in emoji", *NO_PERSON, address=f"{PERSONS}/🙂", method="DELETE"),
    Bad("a change of nobody", *NO_PERSON, address=ONE_PERSON, method="PATCH",
        request=change(name="Ada")),
    Bad("a face for nobody", *NO_PERSON, address=f"{ONE_PERSON}/faces", request=photo(JPEG)),
    Bad("an unknown face", "there is no such face", 404, "face-not-found",
        address=f"{ONE_PERSON}/faces/{NOBODY}", method="DELETE"),
    Bad("an unknown failure", "there is no such failure", 404, "failure-not-found",
        address=f"/v1/failures/{NOBODY}/retry"),
    Bad("JSON cut short", "the JSON is damaged", 400, "broken-json", address=ONE_PERSON,
        method="PATCH",
        request={"content": b'{"name": ', "headers": {"Content-Type": "application/json"}}),
    Bad("JSON nested without end", "the JSON is damaged", 400, "broken-json",
        address=ONE_PERSON, method="PATCH",
        request={"content": b"[" * 60_000, "headers": {"Content-Type": "application/json"}}),
    Bad("a list for a person", *SHAPE, address=ONE_PERSON, method="PATCH", request={"json": []}),
    Bad("a member that is not known", *SHAPE, address=ONE_PERSON, method="PATCH",
        request=change(role="admin")),
    Bad("a number for a name", *SHAPE, address=ONE_PERSON, method="PATCH", request=change(name=5)),
    Bad("half a character for a name", "the JSON is damaged", 400, "broken-json",
        address=ONE_PERSON, method="PATCH",
        request={"content": rb'{"name": "\ud800"}',
                 "headers": {"Content-Type": "application/json"}}),
    Bad("a NUL for notes", *TEXT, address=ONE_PERSON, method="PATCH",
        request=change(notes="\0")),
    Bad("no name any more", *NAME, address=ONE_PERSON, method="PATCH", request=change(name=None)),
    Bad("a change as a form", "the body is no JSON", 415, "not-json", address=ONE_PERSON,
        method="PATCH", request={"data": {"name": "Ada"}}),
    Bad("a change of a megabyte", "the request has too many bytes", 413, "request-too-large",
        address=ONE_PERSON, method="PATCH", request=change(notes="x" * 1_000_000)),
    Bad("a verdict of another kind", *SHAPE, address=f"{SEARCHES}/{NOBODY}/feedback",
        request=change(person_id=NOBODY, verdict="perhaps")),
    Bad("a cursor of noise", *CURSOR, address=f"{PERSONS}?cursor=%00%ff", method="GET"),
    Bad("a cursor of another list", *CURSOR, address=f"{PERSONS}?cursor=WzFd", method="GET"),
    Bad("a cursor before time", *CURSOR, method="GET",
        address=f"{PERSONS}?cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwgIngiXQ"),
    Bad("a page of nothing", *LIMIT, address=f"{PERSONS}?limit=0", method="GET"),
    Bad("a page of everything", *LIMIT, address=f"{PERSONS}?limit=1000000", method="GET"),
    Bad("a cursor of 10,000 letters", *LIMIT, method="GET",
        address=f"{PERSONS}?cursor={'x' * 10_000}"),
    Bad("a NUL to look for", *TEXT, address=f"{PERSONS}?q=%00", method="GET"),
    Bad("an address of no route", *NO_ROUTE, address="/v2/searches", method="GET"),
    Bad("a method of no route", "the address does not know the method", 405,
        "method-not-allowed", method="PUT"),
]  # fmt: skip


def test_the_table_is_long_enough_and_names_each_case_once():
    assert len(BAD) >= 25
    assert len({bad.case for bad in BAD}) == len(BAD)


def test_problem_types_are_distinct_where_the_reasons_are():
    slugs_of, reasons_of = defaultdict(set), defaultdict(set)
    for bad in BAD:
        slugs_of[bad.reason].add(bad.slug)
        reasons_of[bad.slug].add(bad.reason)

    assert {reason: slugs for reason, slugs in slugs_of.items() if len(slugs) > 1} == {}
    assert {slug: reasons for slug, reasons in reasons_of.items() if len(reasons) > 1} == {}


@pytest.fixture
def refusing(inference: FakeInference) -> None:
    inference.refuse(NO_FACE, "no-face")
    inference.refuse(TINY_FACE, "face-too-small")
    inference.refuse(BLURRED, "quality-too-low")
    inference.refuse(CUT_SHORT, "unreadable-image")
    inference.refuse(make_photo(24), "no-such-face")


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("bad", BAD, ids=str)
async def test_a_bad_request_meets_its_own_problem_type(running: Running, photo_dir, bad: Bad):
    async with running.client(running.keys.get(bad.role, bad.role)) as client:
        answer = await client.request(bad.method, bad.address, **bad.request)

    assert (answer.status_code, slug_of(answer)) == (bad.status, bad.slug)
    assert list((photo_dir / "arriving").iterdir()) == []
