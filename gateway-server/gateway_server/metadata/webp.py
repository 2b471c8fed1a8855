"""WebP (RFC 9649): the picture or the frames, their transparency and their colours are kept."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from gateway_server.metadata.orientation import read_turn, write_exif
from gateway_server.metadata.pieces import counted
from gateway_server.problems import UnreadableImage

_RIFF_BYTES, _CHUNK_BYTES = 12, 8
_EXTENDED_BYTES, _ANIMATION_BYTES, _FRAME_BYTES = 10, 6, 16
_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _XMP_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
_PICTURES = frozenset({b"VP8 ", b"VP8L"})


class _Chunk(NamedTuple):
    name: bytes
    data: bytes


def strip_webp(data: bytes) -> bytes:
    chunks = counted(_chunks(_riff_body(data)))
    first = next(chunks, None)
    if first and first.name in _PICTURES:
        kept = [first]  # what follows is not looked at by decoders, either
    elif first and first.name == b"VP8X":
        kept = _strip_extended(first.data, list(chunks))
    else:
        raise UnreadableImage("A WebP's first chunk is VP8, VP8L or VP8X")
    body = b"WEBP" + _write(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _riff_body(data: bytes) -> bytes:
    if data[:4] != b"RIFF" or data[8:_RIFF_BYTES] != b"WEBP":
        raise UnreadableImage("A WebP begins with RIFF and WEBP")
    size = int.from_bytes(data[4:8], "little")
    if size > len(data) - _CHUNK_BYTES:
        raise UnreadableImage(f"The WebP says {size} bytes where {len(data) - 8} are left")
    return data[_RIFF_BYTES : _CHUNK_BYTES + size]


def _chunks(body: bytes) -> Iterator[_Chunk]:
    """A last chunk may lack its padding; a few bytes behind it are no chunk."""
    at = 0
    while at + _CHUNK_BYTES <= len(body):
        size = int.from_bytes(body[at + 4 : at + _CHUNK_BYTES], "little")
        left = len(body) - at - _CHUNK_BYTES
        if size > left:
            raise UnreadableImage(f"A WebP chunk says {size} bytes where {left} are left")
        start = at + _CHUNK_BYTES
        yield _Chunk(body[at : at + 4], body[start : start + size])
        at = start + size + size % 2


def _strip_extended(extended: bytes, rest: list[_Chunk]) -> list[_Chunk]:
    if len(extended) != _EXTENDED_BYTES:
        raise UnreadableImage(f"A WebP's VP8X has {_EXTENDED_BYTES} bytes, not {len(extended)}")
    flags = extended[0]
    colours = [c for c in rest if c.name == b"ICCP" and flags & _ICC_FLAG][:1]
    drawn = _animation(rest) if flags & _ANIMATION_FLAG else _picture(rest)
    exif = _exif(rest, flags)
    flags &= _ALPHA_FLAG | _ANIMATION_FLAG
    flags |= _ICC_FLAG * bool(colours) | _EXIF_FLAG * bool(exif)
    canvas = _Chunk(b"VP8X", bytes((flags, 0, 0, 0)) + extended[4:])
    return [canvas, *colours, *drawn, *exif]


def _picture(chunks: Iterable[_Chunk]) -> list[_Chunk]:
    """The first picture, with the transparency before it."""
    alpha: list[_Chunk] = []
    for chunk in chunks:
        if chunk.name == b"ALPH":
            alpha = [chunk]
        elif chunk.name in _PICTURES:
            return [*alpha, chunk]
    raise UnreadableImage("The WebP has no picture")


def _animation(chunks: list[_Chunk]) -> list[_Chunk]:
    controls = [c for c in chunks if c.name == b"ANIM" and len(c.data) >= _ANIMATION_BYTES]
    frames = [_frame(chunk.data) for chunk in chunks if chunk.name == b"ANMF"]
    if not controls or not frames:
        raise UnreadableImage("The animated WebP has no ANIM or no frame")
    return [_Chunk(b"ANIM", controls[0].data[:_ANIMATION_BYTES]), *frames]


def _frame(data: bytes) -> _Chunk:
    """A frame begins with its picture, or with the transparency before it."""
    within = islice(_chunks(data[_FRAME_BYTES:]), 2)
    return _Chunk(b"ANMF", data[:_FRAME_BYTES] + _write(_picture(within)))


def _exif(chunks: list[_Chunk], flags: int) -> list[_Chunk]:
    """Decoders look for what the flags announce, and take the first."""
    exif = [c.data for c in chunks if c.name == b"EXIF" and flags & _EXIF_FLAG]
    xmp = [c.data for c in chunks if c.name == b"XMP " and flags & _XMP_FLAG]
    turn = read_turn(next(iter(exif), None), next(iter(xmp), None))
    return [_Chunk(b"EXIF", write_exif(turn))] if turn > 1 else []


def _write(chunks: Iterable[_Chunk]) -> bytes:
    return b"".join(
        piece
        for name, data in chunks
        for piece in (name, len(data).to_bytes(4, "little"), data, b"\0" * (len(data) % 2))
    )
