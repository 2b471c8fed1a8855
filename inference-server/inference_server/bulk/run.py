"""The run: what is enrolled already is skipped, everything else is embedded and written in batches.

Memory is bounded: besides what an executor holds, 2 x READ_AHEAD photos are read and not yet given
away, and at most BATCH_FACES references wait to be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import monotonic
from typing import Final, Protocol

from inference_server.bulk import (
    Embedded,
    Executor,
    Listed,
    Outcome,
    Photo,
    PhotoRefused,
    Refused,
    Source,
    WorkersUnusable,
)
from inference_server.bulk.photo_files import refusal
from inference_server.gallery import FaceIdInUse, ModelStamp, Reference
from inference_server.gallery.batches import Enrolled, Written

READ_AHEAD: Final = 16
READERS: Final = 8  # threads: a network's disk answers slowly, but several at a time
BATCH_FACES: Final = 256
BATCH_WITHIN_S: Final = 5.0
"""What a kill costs at most: so long, a finished face may wait to be written."""
BEST_FACE: Final = 0  # faces of a photo come most prominent first
DERIVED_CHARS: Final = 32
DELETED: Final = "deleted"
STAYS_DELETED: Final = "The face or its person has been deleted; --bring-back enrols them again."

Read = tuple[Listed, bytes | PhotoRefused, str]


class BulkStore(Protocol):
    """What the gallery's store offers to a run."""

    def find_enrolled(
        self, person_ids: Sequence[str], photo_sha256s: Sequence[str], stamp: ModelStamp
    ) -> Sequence[Enrolled]: ...

    def add_faces(
        self, references: Sequence[Reference], *, bring_back: bool
    ) -> Sequence[Written]: ...


class Observer(Protocol):
    """Is told of every photo once, from several threads."""

    def enrolled(self, faces: int) -> None: ...

    def known(self, name: str) -> None:
        """The photo's face was enrolled before."""
        ...

    def refused(self, refused: Refused) -> None: ...


class BulkEnrolment:
    """`stamp`: of the pipeline that the executor's processes must have, too.

    `bring_back`: persons and faces that have been deleted, too.
    """

    def __init__(
        self,
        store: BulkStore,
        executor: Executor,
        stamp: ModelStamp,
        observer: Observer,
        *,
        bring_back: bool = False,
    ) -> None:
        self._store = store
        self._executor = executor
        self._stamp = stamp
        self._observer = observer
        self._bring_back = bring_back

    def run(self, source: Source) -> None:
        """To the source's end.

        Raises:
            SourceUnusable, WorkersUnusable, StoreUnavailable: what was written stays.
        """
        outcomes = self._executor.run(self._photos(source.photos()))
        for batch in _batches(self._accepted(outcomes)):
            self._write(batch)

    def _photos(self, listed: Iterator[Listed | Refused]) -> Iterator[Photo]:
        """Read and hashed ahead of need; without those that are enrolled, or cannot be read."""
        for chunk in _read_ahead(self._listed(listed)):
            read = [(one, data, sha256) for one, data, sha256 in chunk if self._is_read(one, data)]
            enrolled = self._store.find_enrolled(
                [one.person_id for one, _, _ in read], [sha256 for *_, sha256 in read], self._stamp
            )
            for one, data, sha256 in read:
                photo = _photo(one, data, sha256, _same_face(one, sha256, enrolled))
                if photo is None:
                    self._observer.known(one.name)
                else:
                    yield photo

    def _listed(self, listed: Iterator[Listed | Refused]) -> Iterator[Listed]:
        for one in listed:
            if isinstance(one, Refused):
                self._observer.refused(one)
            else:
                yield one

    def _is_read(self, one: Listed, data: bytes | PhotoRefused) -> bool:
        if isinstance(data, PhotoRefused):
            self._observer.refused(refusal(one.name, one.person_id, data))
        return isinstance(data, bytes)

    def _accepted(self, outcomes: Iterator[Outcome]) -> Iterator[Embedded]:
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                self._observer.refused(outcome)
            elif outcome.reference.stamp != self._stamp:
                raise WorkersUnusable("A worker has other networks or settings than this process.")
            else:
                yield outcome

    def _write(self, batch: Sequence[Embedded]) -> None:
        references = [one.reference for one in batch]
        written = self._store.add_faces(references, bring_back=self._bring_back)
        for one, outcome in zip(batch, written, strict=True):
            if outcome == "in-use":
                in_use = FaceIdInUse(one.reference.face_id)
                person_id = one.reference.person_id
                self._observer.refused(Refused(one.name, person_id, in_use.slug, str(in_use)))
            elif outcome == "deleted":
                self._observer.refused(
                    Refused(one.name, one.reference.person_id, DELETED, STAYS_DELETED)
                )
            elif outcome == "repeated":  # the same photo twice in one source
                self._observer.known(one.name)
        self._observer.enrolled(sum(one in {"new", "replaced"} for one in written))


def derived_face_id(person_id: str, photo_sha256: str, face: int | None) -> str:
    """The same for the same face of the same photo of the same person, on every run."""
    origin = f"{person_id}/{photo_sha256}/{_index(face)}"
    return f"bulk-{hashlib.sha256(origin.encode()).hexdigest()[:DERIVED_CHARS]}"


def _photo(
    one: Listed, data: bytes | PhotoRefused, sha256: str, same: Sequence[Enrolled]
) -> Photo | None:
    """None where it is enrolled with today's networks; one of yesterday's keeps its face_id."""
    if any(found.is_current for found in same) or isinstance(data, PhotoRefused):
        return None
    face_id = one.face_id or next(
        (found.face_id for found in same), derived_face_id(one.person_id, sha256, one.face)
    )
    return Photo(one.name, one.person_id, face_id, one.face, sha256, data)


def _same_face(one: Listed, sha256: str, enrolled: Sequence[Enrolled]) -> Sequence[Enrolled]:
    """A photo without a face_id is enrolled under whichever it has; a named one by its name."""
    wanted = (one.person_id, sha256, _index(one.face))
    return [
        found
        for found in enrolled
        if (found.person_id, found.photo_sha256, found.face_index) == wanted
        and one.face_id in {None, found.face_id}
    ]


def _index(face: int | None) -> int:
    return BEST_FACE if face is None else face


def _read_ahead(listed: Iterator[Listed]) -> Iterator[Sequence[Read]]:
    """One chunk is given away while the next is read."""
    with ThreadPoolExecutor(READERS, "reader") as readers:
        ahead: list[Future[Read]] = []
        while chunk := list(islice(listed, READ_AHEAD)):
            reading = [readers.submit(_read, one) for one in chunk]
            if ahead:
                yield [one.result() for one in ahead]
            ahead = reading
        yield [one.result() for one in ahead]


def _read(one: Listed) -> Read:
    try:
        data = one.read()
    except PhotoRefused as refused:
        return one, refused, ""
    return one, data, hashlib.sha256(data).hexdigest()


def _batches(embedded: Iterable[Embedded]) -> Iterator[Sequence[Embedded]]:
    """As large as is cheap to write, or as old as may be lost."""
    batch: list[Embedded] = []
    began = monotonic()
    for one in embedded:
        if not batch:
            began = monotonic()
        batch.append(one)
        if len(batch) >= BATCH_FACES or monotonic() - began > BATCH_WITHIN_S:
            yield batch
            batch = []
    if batch:
        yield batch
