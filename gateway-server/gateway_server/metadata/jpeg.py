"""JPEG (ITU-T T.81, annex B): tables, frames and scans are kept, with JFIF, Adobe and ICC."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway_server.metadata.orientation import read_turn, write_exif
from gateway_server.metadata.pieces import counted
from gateway_server.problems import UnreadableImage

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _DNL, _APP0, _APP1, _APP2, _APP14 = 0xDA, 0xDC, 0xE0, 0xE1, 0xE2, 0xEE
_ENDS = frozenset({0xD8, 0xD9})  # a second SOI is another picture's
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CODING = _FRAMES | {0xC4, 0xCC, _SOS, 0xDB, 0xDD, 0xDE, 0xDF}  # and DHT, DAC, DQT, DRI, DHP, EXP
_DNL_BYTES = 6
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # with a length: no stuffing, TEM, RST, fill
_SCAN_END = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # decoders step over reserved markers in scans
_JFIF, _ADOBE, _ICC, _EXIF = b"JFIF\0", b"Adobe", b"ICC_PROFILE\0", b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JFIF_BYTES, _ADOBE_BYTES = 14, 12  # libjpeg ignores shorter ones


class _Segment(NamedTuple):
    """`whole`: from the marker to the next one, so that a scan's coded data is its own."""

    kind: int
    whole: bytes

    @property
    def body(self) -> bytes:
        return self.whole[4:]


def strip_jpeg(data: bytes) -> bytes:
    """A JPEG that breaks off within its scans gets an end, as decoders lend it one."""
    if not data.startswith(_SOI):
        raise UnreadableImage("A JPEG begins with ff d8")
    segments = list(counted(_segments(data)))
    head, scans = _split_at_first_scan(segments)
    kept = filter(None, map(_kept_of_head, head))
    coded = (segment.whole for segment in scans if _is_coding(segment))
    return b"".join((_SOI, *_jfif(head), *_exif(head), *kept, *coded, _EOI))


def _segments(data: bytes) -> Iterator[_Segment]:
    """Until the picture's end, or the first segment that is not whole; stray bytes are left out."""
    at = len(_SOI)
    while marker := _MARKER.search(data, at):
        start, kind = marker.start(), data[marker.end() - 1]
        length = data[marker.end() : marker.end() + 2]
        at = marker.end() + max(int.from_bytes(length), 2)
        if kind in _ENDS or at > len(data):
            return
        if kind == _SOS:
            scan_end = _SCAN_END.search(data, at)
            at = scan_end.start() if scan_end else len(data)
        yield _Segment(kind, data[start:at])


def _split_at_first_scan(segments: list[_Segment]) -> tuple[list[_Segment], list[_Segment]]:
    kinds = [segment.kind for segment in segments]
    if _SOS not in kinds:
        raise UnreadableImage("The JPEG ends before its first scan begins")
    first = kinds.index(_SOS)
    if _FRAMES.isdisjoint(kinds[:first]):
        raise UnreadableImage("The JPEG has no frame header before its first scan")
    return segments[:first], segments[first:]


def _is_coding(segment: _Segment) -> bool:
    """A DNL of another length would be stepped over by decoders: a place for anything."""
    if segment.kind == _DNL:
        return len(segment.whole) == _DNL_BYTES
    return segment.kind in _CODING


def _kept_of_head(segment: _Segment) -> bytes:
    if _is_coding(segment) or (segment.kind == _APP2 and segment.body.startswith(_ICC)):
        return segment.whole
    if segment.kind == _APP14 and segment.body.startswith(_ADOBE):
        return _cut(segment, _ADOBE_BYTES)
    return b""


def _jfif(head: Iterable[_Segment]) -> Iterator[bytes]:
    """The first one, which belongs at the beginning; without its thumbnail."""
    for segment in head:
        if segment.kind == _APP0 and segment.body.startswith(_JFIF):
            if whole := _cut(segment, _JFIF_BYTES):
                yield whole[:-2] + b"\0\0"
            return


def _cut(segment: _Segment, body_bytes: int) -> bytes:
    body = segment.body[:body_bytes]
    return _app(segment.kind, body) if len(body) == body_bytes else b""


def _exif(head: list[_Segment]) -> Iterator[bytes]:
    bodies = [segment.body for segment in head if segment.kind == _APP1]
    blocks = [body.removeprefix(_EXIF) for body in bodies if body.startswith(_EXIF)]
    packets = [body for body in bodies if body.startswith(_XMP)]
    turn = read_turn(b"".join(blocks), packets[-1] if packets else None)
    if turn > 1:
        yield _app(_APP1, _EXIF + write_exif(turn))


def _app(kind: int, body: bytes) -> bytes:
    return bytes((0xFF, kind)) + (len(body) + 2).to_bytes(2) + body
