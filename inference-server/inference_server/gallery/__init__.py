"""The gallery: who is enrolled, with which references, and who resembles a probe most.

The store (`Registry`, `Roll`, `ChangeLog`) is the truth; an index is derived from its change log,
keeps only vectors of the networks that are loaded now, and catches up before every answer.

    ExactIndex ──follows──> ChangeLog          what was committed since (news.py, store.py)
      └── View                                 one moment: a base, its dead rows, a tail (view.py)
            ├── Segment                        the base's columns (segment.py), kept in a
            │                                  snapshot file (snapshot.py, shelf.py)
            └── Scan                           codes or floats: which rows may matter
                                               (scan.py, codes.py); ranking.py settles who wins

GalleryError
├── PersonNotFound      person-not-found
├── FaceNotFound        face-not-found
├── FaceIdInUse         face-id-in-use       another photo, face or person has this face_id
└── StoreUnavailable    store-unavailable    the database does not answer; worth a retry
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]  # (128,), or (16384,) by DESCRIPTOR; L2-normalised
Vectors = NDArray[np.float32]  # (n, 128 or 16384), rows L2-normalised
Identifiers = NDArray[np.bytes_]  # (n,) of ID_CHARS ASCII characters; they sort as the texts do

MODELS: Final = ("base", "heatmap")
ID_CHARS: Final = 64


class GalleryError(Exception):
    """Root of the tree; `slug` is the last part of the problem type that is answered."""

    slug: ClassVar[str] = "gallery-error"


class PersonNotFound(GalleryError):
    slug = "person-not-found"

    def __init__(self, person_id: str) -> None:
        super().__init__(f"No person {person_id!r} is enrolled.")


class FaceNotFound(GalleryError):
    slug = "face-not-found"

    def __init__(self, person_id: str, face_id: str) -> None:
        super().__init__(f"Person {person_id!r} has no face {face_id!r}.")


class FaceIdInUse(GalleryError):
    slug = "face-id-in-use"

    def __init__(self, face_id: str) -> None:
        super().__init__(f"Face {face_id!r} was enrolled from another photo, face or person.")


class StoreUnavailable(GalleryError):
    slug = "store-unavailable"


@dataclass(frozen=True, slots=True)
class ModelStamp:
    """One sha256 for all that made a vector; vectors of different stamps must never be compared."""

    base: str
    heatmap: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """One enrolled face: its two embeddings and where they come from; the photo is not kept.

    `photo_sha256` and `face_index` tell a repeated enrolment from another one.
    `box`: x, y, width, height in pixels of the full upright photo.
    """

    face_id: str
    person_id: str
    base: Embedding
    heatmap: Embedding
    stamp: ModelStamp
    photo_sha256: str
    face_index: int
    box: tuple[float, float, float, float]
    quality: int
    warnings: tuple[str, ...]
    created_at: datetime

    def repeats(self, other: Reference) -> bool:
        """The same face of the same photo, for the same person."""
        return (self.person_id, self.photo_sha256, self.face_index) == (
            other.person_id,
            other.photo_sha256,
            other.face_index,
        )


@dataclass(frozen=True, slots=True)
class EnrolledFace:
    """What a listing tells of a reference."""

    face_id: str
    quality: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    person_id: str
    faces: tuple[EnrolledFace, ...]


@dataclass(frozen=True, slots=True)
class PersonPage:
    """Persons in the order of their identifiers; `next_after` starts the next page."""

    persons: tuple[Person, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What happened to the searchable faces since a version; removals come first.

    `face_ids`, `person_ids` and the rows of every array of `vectors` (by model name) run parallel.
    """

    version: int
    removed: frozenset[str]
    face_ids: tuple[str, ...]
    person_ids: tuple[str, ...]
    vectors: Mapping[str, Vectors]


@dataclass(frozen=True, slots=True)
class Moment:
    """A state of one gallery. `mark` is drawn at random by the change that made the version.

    So a version that a restored or exchanged database reached on another way is another moment.
    """

    version: int
    mark: str


BEGINNING: Final = Moment(0, "")
"""Before any gallery: no database has this mark."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceBatch:
    """Some searchable faces; both identifiers and the rows of every array run parallel."""

    face_ids: Identifiers
    person_ids: Identifiers
    vectors: Mapping[str, Vectors]


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What happened since a moment, up to `moment`; removals come first.

    `anew`: this gallery never was at that moment. All before is void, and the batches hold
    everything. `count`: faces in all batches, which are read while they are asked for.
    """

    moment: Moment
    anew: bool
    removed: frozenset[str]
    count: int
    batches: Iterator[FaceBatch]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is searched: persons with at least one face, faces, and the gallery's version."""

    persons: int
    faces: int
    version: int


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A person's face that resembles the probe most; cosine similarity in -1..1."""

    person_id: str
    face_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """At most top-k different persons, most similar first, and what they were chosen from."""

    nearest: Sequence[Resemblance]
    counts: Counts


class Registry(Protocol):
    """Enrolment and removal. Every transaction that changes faces adds one to the version."""

    def add_person(self, person_id: str) -> tuple[Person, bool]:
        """The person, and whether they are new."""
        ...

    def add_face(
        self, reference: Reference, also: Sequence[Reference] = ()
    ) -> tuple[Reference, bool]:
        """The stored reference, and whether it is new; `also`: the same face by other networks.

        The same face again answers with what is stored, and what is missing is added. Where all
        that is stored was made by networks or settings that nobody here has: the new vectors take
        its place.

        Raises:
            PersonNotFound, FaceIdInUse, StoreUnavailable
        """
        ...

    def remove_person(self, person_id: str) -> None: ...

    def remove_face(self, person_id: str, face_id: str) -> None: ...


class Roll(Protocol):
    """The list of all who are enrolled."""

    def list_persons(self, limit: int, after: str | None) -> PersonPage: ...


class ChangeLog(Protocol):
    """What an index follows."""

    def version(self) -> int:
        """One row read: cheap enough to ask before every answer."""
        ...

    def moment(self) -> Moment:
        """One row read, too: the version, and that it is still the version of the same gallery."""
        ...

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        """From version 0: all searchable faces. Only vectors with the stamp are searchable."""
        ...

    def news(self, since: Moment, stamp: ModelStamp) -> AbstractContextManager[News]:
        """The same as a stream of one moment, open while the context is.

        It tells a restored gallery.
        """
        ...

    def count_outdated(self, stamp: ModelStamp) -> int:
        """Faces that other networks or settings embedded and that therefore no search finds."""
        ...


class Store(Registry, Roll, ChangeLog, Protocol):
    """The truth; the default is SQLite, grown up PostgreSQL."""


class VectorIndex(Protocol):
    """Finds the nearest persons; every answer includes all changes committed before the call."""

    def search(self, model: str, probe: Embedding, top_k: int) -> SearchResult: ...

    def counts(self) -> Counts: ...


class SwitchLog(Protocol):
    """Whose vectors answer, while one set of networks takes another's place."""

    def active(self) -> ModelStamp | None:
        """None while nothing has been switched; cheap enough to ask before every answer."""
        ...


@dataclass(frozen=True, slots=True)
class Gallery:
    """The truth and the index that is derived from it."""

    store: Store
    index: VectorIndex
