"""A segment as a file: one block of header, then the columns as they lie in memory.

The header names everything that the columns depend on, and carries their BLAKE2b digest; it is
itself preceded by its own. Whatever does not fit is no snapshot: the truth is in SQL.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from inference_server.gallery import FaceBatch, ModelStamp, Moment, Vectors
from inference_server.gallery.rows import VECTOR
from inference_server.gallery.scan import Rows
from inference_server.gallery.segment import Layout, Segment, fill

MAGIC: Final = b"reunite gallery snapshot 1\n"
HEADER_BYTES: Final = 4096
DIGEST_BYTES: Final = 32
CHUNK_BYTES: Final = 2**20
OWNER_ONLY: Final = 0o600


class SnapshotError(Exception):
    """Root of what stays between an index and its files; no caller of an index meets it.

    ├── SnapshotRefused   broken, or made by other networks
    └── ShelfUnusable     the folder cannot be written
    """


class SnapshotRefused(SnapshotError):
    """The message says why."""


class ShelfUnusable(SnapshotError):
    """An index can still keep its base in memory."""


@dataclass(frozen=True, slots=True)
class Label:
    """What the columns are of, and their digest."""

    stamp: ModelStamp
    moment: Moment
    layout: Layout
    persons: int
    contents: str

    def to_bytes(self) -> bytes:
        text = json.dumps(asdict(self)).encode()
        block = (MAGIC + _digest(text) + text).ljust(HEADER_BYTES)
        if len(block) > HEADER_BYTES:
            raise ValueError(f"A header of {len(block)} bytes does not fit {HEADER_BYTES}.")
        return block

    @classmethod
    def from_bytes(cls, block: bytes) -> Label:
        """Raises SnapshotRefused."""
        text = block[len(MAGIC) + DIGEST_BYTES :].rstrip()
        if not block.startswith(MAGIC + _digest(text)):
            raise SnapshotRefused("Its header is broken, or of another format.")
        fields: dict[str, Any] = json.loads(text)
        return cls(
            stamp=ModelStamp(**fields["stamp"]),
            moment=Moment(**fields["moment"]),
            layout=Layout(**fields["layout"]),
            persons=fields["persons"],
            contents=fields["contents"],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """`inode` tells it from a file that takes its place."""

    segment: Segment
    moment: Moment
    inode: int


class FileSource:
    """Vectors read from the file row by row: what is compared does not stay in memory."""

    def __init__(self, descriptor: int, mapped: mmap, layout: Layout) -> None:
        self._descriptor = descriptor
        self._mapped = mapped
        self._dimensions = layout.dimensions
        self._offsets = layout.offsets()
        weakref.finalize(self, os.close, descriptor)

    def take(self, model: str, rows: Rows) -> Vectors:
        """Of rows that lie close together, all between are read, too."""
        length, offset = self._dimensions[model], HEADER_BYTES + self._offsets[f"{model}/vectors"]
        size = length * VECTOR.itemsize
        if len(rows) and (span := int(rows[-1] - rows[0]) + 1) <= 2 * len(rows):
            vectors: Vectors = np.empty((span, length), dtype=VECTOR)
            self._read(vectors.data.cast("B"), offset + int(rows[0]) * size)
            wanted: Vectors = vectors[rows - rows[0]]
            return wanted
        taken: Vectors = np.empty((len(rows), length), dtype=VECTOR)
        buffer = taken.data.cast("B") if len(rows) else memoryview(b"")
        for start, row in zip(range(0, len(rows) * size, size), rows.tolist(), strict=True):
            self._read(buffer[start : start + size], offset + row * size)
        return taken

    def release(self) -> None:
        self._mapped.madvise(MADV_DONTNEED)

    def _read(self, place: memoryview, offset: int) -> None:
        while read := os.preadv(self._descriptor, (place,), offset):
            if read == len(place):
                return
            place, offset = place[read:], offset + read
        raise SnapshotRefused("It has become shorter while it was in use.")


def write_snapshot(
    path: Path, stamp: ModelStamp, moment: Moment, layout: Layout, batches: Iterable[FaceBatch]
) -> None:
    """On the disk when this returns; the header comes last, so an unfinished file is none.

    Raises:
        OSError
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with os.fdopen(descriptor, "r+b") as file:
        os.fchmod(descriptor, OWNER_ONLY)
        _reserve(file, HEADER_BYTES + layout.bytes)
        buffer = np.memmap(file, np.uint8, "r+", offset=HEADER_BYTES, shape=(layout.bytes,))
        persons = fill(layout.over(buffer), batches)
        buffer.flush()
        del buffer
        contents = _digest_of_rest(file).hex()
        file.seek(0)
        file.write(Label(stamp, moment, layout, persons, contents).to_bytes())
        file.flush()
        os.fsync(descriptor)


def read_snapshot(path: Path, stamp: ModelStamp) -> Snapshot:
    """Every byte is checked, by reading, so that nothing stays in memory.

    Raises:
        SnapshotRefused, FileNotFoundError
    """
    with path.open("rb") as file:
        label = Label.from_bytes(file.read(HEADER_BYTES))
        if label.stamp != stamp:
            raise SnapshotRefused("Its vectors were made by other networks or settings.")
        status = os.fstat(file.fileno())
        if status.st_size != HEADER_BYTES + label.layout.bytes:
            raise SnapshotRefused(f"It has {status.st_size} bytes, not what its header tells.")
        if _digest_of_rest(file).hex() != label.contents:
            raise SnapshotRefused("Its contents have changed since they were written.")
        mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
        source = FileSource(os.dup(file.fileno()), mapped, label.layout)
    buffer = np.frombuffer(mapped, dtype=np.uint8, offset=HEADER_BYTES)
    segment = Segment(label.layout, label.layout.over(buffer), source, label.persons)
    return Snapshot(segment, label.moment, status.st_ino)


def _reserve(file: BinaryIO, size: int) -> None:
    """A full disk is an error here; in a mapped page it would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def _digest_of_rest(file: BinaryIO) -> bytes:
    file.seek(HEADER_BYTES)
    digest, chunk = blake2b(digest_size=DIGEST_BYTES), bytearray(CHUNK_BYTES)
    while read := file.readinto(chunk):  # type: ignore[attr-defined]  # every real file has it
        digest.update(memoryview(chunk)[:read])
    return digest.digest()


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=DIGEST_BYTES).digest()
