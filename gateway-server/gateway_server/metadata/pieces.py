"""How many pieces (segments, chunks, boxes) a photo may be made of."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from gateway_server.problems import UnreadableImage

MAX_PIECES = 100_000  # a PNG of 20 MB in chunks of 8 KB has 2,500; each costs about a microsecond

T = TypeVar("T")


def counted(pieces: Iterable[T]) -> Iterator[T]:
    for number, piece in enumerate(pieces):
        if number == MAX_PIECES:
            raise UnreadableImage(f"A photo may be made of {MAX_PIECES} pieces")
        yield piece
