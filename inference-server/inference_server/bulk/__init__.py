"""Bulk enrolment: the photos of a whole source become references, at full speed and resumably.

    command.py       `inference-server enrol`: settings and arguments -> one run
    sources.py       what is enrolled: a folder; archives.py: ZIP and TAR; manifest.py: a CSV
    run.py           THE RUN: read ahead, skip what is enrolled, embed, write in batches
    pool.py          an executor: a process per core, on this machine; worker.py is one of them
    ray_cluster.py   another: Ray Data, on the machines of a cluster
    progress.py      what is told meanwhile, and the report of what was refused

The gallery is the only memory of a run: one that was killed is started again and skips what it
finds enrolled, before a pixel is decoded. Refused photos are tried again.

BulkError
├── SourceUnusable    the source as a whole cannot be read
├── WorkersUnusable   the processes do not start, or hold other networks than this one
└── PhotoRefused      one photo; `slug` is the reason's stable type, as over HTTP
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from inference_server.gallery import Reference


class BulkError(Exception):
    """Root of the tree."""


class SourceUnusable(BulkError):
    pass


class WorkersUnusable(BulkError):
    pass


class PhotoRefused(BulkError):
    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo of a source, not read yet. `face_id`: None where the source names none.

    `face`: the face's index, None for the best one. `read` may be called once, from any thread,
    and raises PhotoRefused.
    """

    name: str
    person_id: str
    face_id: str | None
    face: int | None
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo on its way to a worker."""

    name: str
    person_id: str
    face_id: str
    face: int | None
    sha256: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Embedded:
    name: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Refused:
    """`person_id` as the source spells it, whether or not that is an identifier."""

    name: str
    person_id: str
    slug: str
    detail: str


Outcome = Embedded | Refused


class Source(Protocol):
    def count(self) -> int | None:
        """How many photos there are, refused ones too; None where only reading would tell."""
        ...

    def photos(self) -> Iterator[Listed | Refused]:
        """Each photo once.

        Raises:
            SourceUnusable: at the latest where the fault lies.
        """
        ...


class Executor(Protocol):
    """Where photos become references. Used as a context: its processes end with it."""

    def run(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Each photo's outcome, in whatever order.

        Takes no more photos than it has work for, so that few of them are in memory at a time. A
        photo whose worker dies is tried once more, then refused as `internal-error`.

        Raises:
            WorkersUnusable
        """
        ...
