"""The form reader: bytes in, events out, in any pieces."""

import pytest

from gateway_server.multipart import (
    MultipartReader,
    PartBegins,
    PartContinues,
    PartEnds,
)
from gateway_server.problems import BrokenMultipart, NotMultipart

KIND = "multipart/form-data; boundary=edge"


def read(body: bytes, piece_bytes: int = 10_000) -> list[object]:
    reader = MultipartReader(KIND)
    pieces = [body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes)]
    events = [event for piece in pieces for event in reader.feed(piece)]
    reader.finish()
    return events


def part(disposition: str | bytes, data: bytes = b"x") -> bytes:
    header = disposition if isinstance(disposition, bytes) else disposition.encode()
    return b"--edge\r\nContent-Disposition: " + header + b"\r\n\r\n" + data + b"\r\n--edge--\r\n"


@pytest.mark.parametrize("piece_bytes", [1, 3, 10_000])
def test_parts_come_out_in_order(piece_bytes):
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="b"; filename="f"\r\n\r\n\r\n'
        b"--edge--\r\n"
    )

    events = read(body, piece_bytes)

    data = b"".join(event.data for event in events if isinstance(event, PartContinues))
    frame = [event for event in events if not isinstance(event, PartContinues)]
    assert data == b"one"
    assert frame == [
        PartBegins("a", is_file=False),
        PartEnds(),
        PartBegins("b", is_file=True),
        PartEnds(),
    ]


@pytest.mark.parametrize(
    ("disposition", "field", "is_file"),
    [
        ('form-data; name="photo"; filename="../../etc/passwd"', "photo", True),
        ('form-data; name="photo"; filename="a\0.jpg"', "photo", True),
        ('form-data; name="photo"; filename=""', "photo", True),
        ('form-data; name="фото"', "фото", False),
        ("FORM-DATA; name=photo", "photo", False),
        ("form-data; name*=utf-8''other; name=\"photo\"", "photo", False),
        (b'form-data; name="ph\xffto"', "ph\ufffdto", False),
        ('form-data; name=""', "", False),
    ],
)
def test_a_parts_name_is_read(disposition, field, is_file):
    assert read(part(disposition))[0] == PartBegins(field, is_file)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--other\r\n",
        part("attachment; name=photo"),
        part("form-data"),
        part('form-data; name="photo"')[:-6],
        b"--edge\r\nContent-Disposition\r\n\r\nx\r\n--edge--",
        b"--edge\r\n" + b"X: y\r\n" * 20 + b"\r\nx\r\n--edge--",
        b"--edge\r\nX: " + b"y" * 9000,
    ],
)
def test_a_damaged_body_is_refused(body):
    with pytest.raises(BrokenMultipart):
        read(body)


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "multipart/mixed; boundary=edge", "x" * 99]
)
def test_another_content_type_is_refused(kind):
    with pytest.raises(NotMultipart):
        MultipartReader(kind)


@pytest.mark.parametrize("boundary", ["", "boundary=", "boundary=" + "e" * 300])
def test_a_content_type_without_a_usable_boundary_is_refused(boundary):
    with pytest.raises(BrokenMultipart):
        MultipartReader(f"multipart/form-data; {boundary}")
