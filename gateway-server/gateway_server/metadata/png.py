"""PNG (W3C, third edition): header, palette, pixels and what colours them are kept."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from gateway_server.metadata.orientation import read_turn, write_exif
from gateway_server.metadata.pieces import counted
from gateway_server.problems import UnreadableImage

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FRAME_BYTES = 12  # length, name and checksum
_HEADER_BYTES = 13
_ANY_BYTES = 2**31
_MAX_TEXT_BYTES = 1024 * 1024  # Pillow reads no longer text
_LARGEST = {  # of the chunks that change how the picture looks; a longer one is not what it says
    b"PLTE": 768,
    b"tRNS": 256,
    b"iCCP": _ANY_BYTES,
    b"cHRM": 32,
    b"mDCV": 24,
    b"mDCv": 24,
    b"pHYs": 9,
    b"cLLI": 8,
    b"cLLi": 8,
    b"bKGD": 6,
    b"gAMA": 4,
    b"sBIT": 4,
    b"cICP": 4,
    b"sRGB": 1,
}
_XMP_KEYWORD, _EXIF_KEYWORD = b"XML:com.adobe.xmp", b"Raw profile type exif"


class _Chunk(NamedTuple):
    name: bytes
    whole: bytes

    @property
    def data(self) -> bytes:
        return self.whole[8:-4]


def strip_png(data: bytes) -> bytes:
    """Of an animation, the default picture. One that lacks only its end gets it."""
    if not data.startswith(_SIGNATURE):
        raise UnreadableImage("A PNG begins with its signature")
    chunks = list(counted(_chunks(data)))
    header, before, pixels = _sort(chunks)
    kept = (c.whole for c in before if len(c.data) <= _LARGEST.get(c.name, -1))
    drawn = (c.whole for c in pixels)
    return b"".join((_SIGNATURE, header.whole, *_exif(chunks), *kept, *drawn, _write(b"IEND", b"")))


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Until IEND; behind pixels also until whatever is not whole, where decoders stop reading."""
    at, drawn = len(_SIGNATURE), False
    while (name := data[at + 4 : at + 8]) != b"IEND":
        length = int.from_bytes(data[at : at + 4])
        end = at + _FRAME_BYTES + length
        if len(name) < 4 or end > len(data):
            if drawn and name != b"IDAT":
                return
            left = max(len(data) - at - _FRAME_BYTES, 0)
            raise UnreadableImage(f"A PNG chunk says {length} bytes where {left} are left")
        drawn = drawn or name == b"IDAT"
        yield _Chunk(name, data[at:end])
        at = end


def _sort(chunks: list[_Chunk]) -> tuple[_Chunk, list[_Chunk], list[_Chunk]]:
    """The header, what stands between it and the pixels, and the one run of pixels."""
    names = [chunk.name for chunk in chunks]
    if not names or names[0] != b"IHDR" or len(chunks[0].data) != _HEADER_BYTES:
        raise UnreadableImage(f"A PNG's first chunk is an IHDR of {_HEADER_BYTES} bytes")
    if b"IDAT" not in names:
        raise UnreadableImage("The PNG ends before its pixels begin")
    first = names.index(b"IDAT")
    end = next((at for at in range(first, len(names)) if names[at] != b"IDAT"), len(names))
    return chunks[0], chunks[1:first], chunks[first:end]


def _exif(chunks: list[_Chunk]) -> Iterator[bytes]:
    exif = next((chunk.data for chunk in reversed(chunks) if chunk.name == b"eXIf"), None)
    if exif is None:
        exif = _profile(_text(chunks, _EXIF_KEYWORD))
    turn = read_turn(exif, _text(chunks, _XMP_KEYWORD))
    if turn > 1:
        yield _write(b"eXIf", write_exif(turn))


def _text(chunks: list[_Chunk], keyword: bytes) -> bytes | None:
    """The last text of that keyword; only this one is ever inflated."""
    for chunk in reversed(chunks):
        if chunk.name in {b"tEXt", b"zTXt", b"iTXt"} and chunk.data.startswith(keyword + b"\0"):
            return _read_text(chunk.name, chunk.data[len(keyword) + 1 :])
    return None


def _read_text(name: bytes, value: bytes) -> bytes | None:
    if name == b"tEXt":
        return value
    if name == b"zTXt":
        return _inflate(value[1:])
    _language, _, rest = value[2:].partition(b"\0")
    _keyword, _, text = rest.partition(b"\0")
    return _inflate(text) if value[:1] > b"\0" else text


def _inflate(packed: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(packed, _MAX_TEXT_BYTES)
    except zlib.error:
        return None


def _profile(text: bytes | None) -> bytes | None:
    """ImageMagick's way: an empty line, a name, a length, and hexadecimal lines."""
    try:
        return bytes.fromhex(b"".join((text or b"").split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return None


def _write(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)
