"""A form is judged while it arrives: as early as can be, in any pieces, leaving no trace."""

import io
import random
import struct
import sys
import zlib

import pytest
from PIL import Image, ImageOps
from PIL.ExifTags import GPS, IFD, Base

from gateway_server.image_header import read_size, sniff_type
from gateway_server.problems import PhotoRefused, UnsupportedImageType
from tests.gateway_server.conftest import MAX_PHOTO_BYTES, slug_of
from tests.gateway_server.photos import make_photo

HEADERS = {"Content-Type": "multipart/form-data; boundary=edge"}
PIECE_BYTES = 1000
OPENING = (
    b'--edge\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)
CLOSING = b"\r\n--edge--\r\n"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


class Sender:
    """Sends a body piece by piece and remembers how much of it was taken."""

    def __init__(self, body: bytes, piece_bytes: int = PIECE_BYTES) -> None:
        self.body = body
        self.piece_bytes = piece_bytes
        self.taken_bytes = 0

    async def __aiter__(self):
        for start in range(0, len(self.body), self.piece_bytes):
            piece = self.body[start : start + self.piece_bytes]
            self.taken_bytes += len(piece)
            yield piece


async def test_a_photo_over_the_limit_is_refused_before_the_rest_is_read(phone, photo_dir):
    photo = make_photo(1) + bytes(50 * MAX_PHOTO_BYTES)
    sender = Sender(OPENING + photo + CLOSING)

    answer = await phone.post("/v1/searches", content=sender, headers=HEADERS)

    assert (answer.status_code, slug_of(answer)) == (413, "photo-too-large")
    assert sender.taken_bytes <= MAX_PHOTO_BYTES + 2 * PIECE_BYTES
    assert list((photo_dir / "arriving").iterdir()) == []


async def test_a_body_that_says_itself_too_large_is_not_read_at_all(phone):
    sender = Sender(OPENING + make_photo(1) + CLOSING)
    headers = {**HEADERS, "Content-Length": str(50 * MAX_PHOTO_BYTES)}

    answer = await phone.post("/v1/searches", content=sender, headers=headers)

    assert (answer.status_code, slug_of(answer)) == (413, "photo-too-large")
    assert sender.taken_bytes == 0


@pytest.mark.parametrize("head", [b"GIF89a", b"<svg/>", b"\0"])
async def test_another_type_is_refused_at_its_first_bytes(phone, head):
    sender = Sender(OPENING + head + bytes(90_000) + CLOSING)

    answer = await phone.post("/v1/searches", content=sender, headers=HEADERS)

    assert slug_of(answer) == "unsupported-image-type"
    assert sender.taken_bytes == PIECE_BYTES


async def test_a_second_photo_is_refused_at_its_header(phone):
    opening = OPENING.replace(b"--edge", b"\r\n--edge", 1)
    sender = Sender(OPENING + make_photo(1) + opening + make_photo(2) + bytes(90_000) + CLOSING)

    answer = await phone.post("/v1/searches", content=sender, headers=HEADERS)

    assert slug_of(answer) == "too-many-photos"
    assert sender.taken_bytes <= len(OPENING) * 2 + len(make_photo(1)) + PIECE_BYTES


async def test_an_endless_preamble_is_refused(phone):
    sender = Sender(b"\r\n" * 10 * MAX_PHOTO_BYTES)

    answer = await phone.post("/v1/searches", content=sender, headers=HEADERS)

    assert answer.status_code in {400, 413}
    assert sender.taken_bytes < 3 * MAX_PHOTO_BYTES


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 64, 10_000])
async def test_a_form_may_arrive_in_any_pieces(phone, piece_bytes):
    photo = make_photo(1)
    text = b'\r\n--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nK\xc3\xb6ln'
    sender = Sender(OPENING + photo + text + CLOSING, piece_bytes)

    answer = await phone.post("/v1/searches", content=sender, headers=HEADERS)

    assert answer.status_code == 201
    read = await phone.get(f"{answer.headers['location']}/photo")
    assert read.content == photo


async def test_a_photo_may_hold_what_looks_like_a_boundary(phone):
    alike = b"\r\n--edg\r\n--edgy\r\n-\r\n--"
    data = io.BytesIO()
    picture = Image.frombytes("P", (len(alike), 1), alike)  # rows of a palette are not filtered
    picture.putpalette(bytes(768))
    picture.save(data, "PNG", compress_level=0)
    photo = data.getvalue()
    assert alike in photo

    answer = await phone.post(
        "/v1/searches", content=Sender(OPENING + photo + CLOSING, 5), headers=HEADERS
    )

    assert (await phone.get(f"{answer.headers['location']}/photo")).content == photo


async def test_what_a_photo_tells_of_its_maker_is_not_kept(phone, photo_dir):
    data = io.BytesIO()
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make] = 6, "Secretmaker"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] = "N-secret"
    Image.new("RGB", (64, 48), "red").save(data, "JPEG", exif=exif, comment=b"a secret")

    answer = await phone.post("/v1/searches", files={"photo": data.getvalue() + b"PKsecret"})

    (stored,) = [path for path in photo_dir.rglob("*") if path.is_file()]
    assert b"ecret" not in stored.read_bytes()
    read = await phone.get(f"{answer.headers['location']}/photo")
    with Image.open(io.BytesIO(read.content)) as picture:
        assert ImageOps.exif_transpose(picture).size == (48, 64)


async def test_a_photo_of_exactly_the_limit_is_taken(phone):
    photo = make_photo(1)
    photo += bytes(MAX_PHOTO_BYTES - len(photo))

    answer = await phone.post("/v1/searches", files={"photo": photo})

    assert answer.status_code == 201


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIC"])
async def test_a_photo_is_what_its_content_says_whatever_its_name(phone, kind):
    photo = make_photo(1, kind=kind)

    answer = await phone.post("/v1/searches", files={"photo": ("notes.txt", photo, "text/plain")})

    read = await phone.get(f"{answer.headers['location']}/photo")
    assert read.headers["content-type"] == f"image/{kind.lower()}"


@pytest.mark.parametrize("size", [(640, 480), (3, 2)])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM"}),
    ],
)
def test_the_size_is_read_from_the_header(tmp_path, kind, how, size):
    path = tmp_path / "photo"
    path.write_bytes(make_photo(1, kind=kind, size=size, **how))

    assert read_size(path, f"image/{kind.lower()}") == size


def test_the_size_of_a_heic_is_read_from_the_header(tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(make_photo(1, kind="HEIC", size=(640, 480)))

    assert read_size(path, "image/heic") == (640, 480)


def test_a_heic_is_refused_by_an_installation_without_its_reader(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo"
    path.write_bytes(make_photo(1, kind="HEIC"))

    with pytest.raises(UnsupportedImageType, match="no HEIC"):
        read_size(path, "image/heic")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIC"])
def test_a_header_with_any_byte_wrong_is_read_or_refused(tmp_path, kind):
    """Fuzzing with a fixed seed: nothing but a size or a refusal may come out."""
    chance = random.Random(20)
    whole = make_photo(1, kind=kind)
    path = tmp_path / "photo"
    for _ in range(400):
        data = bytearray(whole[: chance.randrange(12, len(whole))])
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(12, len(data) + 12) % len(data)] = chance.randrange(256)
        path.write_bytes(data)
        try:
            width, height = read_size(path, f"image/{kind.lower()}")
        except PhotoRefused:
            continue
        assert width >= 1
        assert height >= 1


def test_a_png_of_compressed_text_without_end_is_refused(tmp_path):
    text = zlib.compress(bytes(10_000_000))
    chunk = b"zTXtkey\0\0" + text
    path = tmp_path / "photo"
    png = make_photo(1, kind="PNG")
    bomb = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(png[:33] + bomb + png[33:])

    with pytest.raises(PhotoRefused):
        read_size(path, "image/png")


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"\x89PNG\n\n\x1a\n", None),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", None),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1heic", None),
        (b"\xff\xd8", None),
        (b"", None),
    ],
)
def test_a_type_is_told_by_the_first_bytes(head, media_type):
    assert sniff_type(head) == media_type
