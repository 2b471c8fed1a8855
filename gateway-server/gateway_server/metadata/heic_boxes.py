"""The boxes that a HEIC is made of, and the numbers in them (ISO/IEC 14496-12, 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway_server.metadata.pieces import counted
from gateway_server.problems import UnreadableImage

FULL_BOX_BYTES = 4  # version and flags


@dataclass(frozen=True, slots=True)
class Box:
    kind: bytes
    start: int
    body: int
    end: int


class Fields:
    """Big-endian numbers that follow each other in a box."""

    def __init__(self, data: bytes, box: Box) -> None:
        self.at = box.body
        self._data = data
        self._end = box.end

    def take(self, size_bytes: int) -> bytes:
        start, self.at = self.at, self.at + size_bytes
        if self.at > self._end:
            raise UnreadableImage("A HEIC box ends in the middle of a field")
        return self._data[start : self.at]

    def number(self, size_bytes: int) -> int:
        return int.from_bytes(self.take(size_bytes))

    def version(self) -> int:
        return self.number(FULL_BOX_BYTES) >> 24


def read_boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """Until whatever is no whole box."""
    while at + 8 <= end:
        size, body = int.from_bytes(data[at : at + 4]), at + 8
        if size == 1:
            size, body = int.from_bytes(data[body : body + 8]), at + 16
        elif size == 0:
            size = end - at
        if size < body - at or at + size > end:
            return
        yield Box(data[at + 4 : at + 8], at, body, at + size)
        at += size


def read_children(data: bytes, parent: Box, at: int) -> Iterator[Box]:
    for box in counted(read_boxes(data, at, parent.end)):
        yield box
        at = box.end
    if at != parent.end:
        name = parent.kind.decode("latin-1")
        raise UnreadableImage(f"The HEIC's {name} box is not filled by the boxes in it")
