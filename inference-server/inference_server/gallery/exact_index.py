"""Exact search in process: every probe is compared with every reference, in one product.

An index is a chain of immutable snapshots. A search works on the snapshot it took, while another
thread may already append to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress, islice
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import (
    MODELS,
    ChangeLog,
    Changes,
    Counts,
    Embedding,
    ModelStamp,
    Resemblance,
    SearchResult,
    Vectors,
)

FIRST_CAPACITY: Final = 64
DECIMALS: Final = 6
"""Sums of float32 in another order differ below this; rounding makes equal faces tie everywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class GrowingVectors:
    """Rows in a buffer of twice the room. Who holds `rows` never sees what is appended later.

    The first rows decide their length: the index's stamp holds all others to it.
    """

    buffer: Vectors
    count: int = 0

    @classmethod
    def empty(cls) -> GrowingVectors:
        return cls(np.empty((0, 0), dtype=np.float32))

    @property
    def rows(self) -> Vectors:
        return self.buffer[: self.count]

    def appended(self, rows: Vectors) -> GrowingVectors:
        """Shares the buffer while there is room, so only the latest may be appended to."""
        if not len(rows):
            return self
        count = self.count + len(rows)
        buffer = self.buffer if count <= len(self.buffer) else self._larger(count, rows.shape[1])
        buffer[self.count : count] = rows
        return GrowingVectors(buffer, count)

    def kept(self, mask: NDArray[np.bool_]) -> GrowingVectors:
        """A copy without the others: what was removed does not stay in memory."""
        return GrowingVectors.empty().appended(self.rows[mask])

    def _larger(self, count: int, columns: int) -> Vectors:
        room = max(count, 2 * len(self.buffer), FIRST_CAPACITY)
        buffer = np.empty((room, columns), dtype=np.float32)
        if self.count:
            buffer[: self.count] = self.rows
        return buffer


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The gallery at one version; face_ids, person_ids, owners and all vectors run parallel.

    `owners` holds the persons' numbers, `numbers` tells who has which.
    """

    version: int
    face_ids: tuple[str, ...]
    person_ids: tuple[str, ...]
    owners: NDArray[np.int64]
    numbers: Mapping[str, int]
    vectors: Mapping[str, GrowingVectors]

    @classmethod
    def empty(cls) -> Snapshot:
        vectors = {name: GrowingVectors.empty() for name in MODELS}
        return cls(0, (), (), np.empty(0, dtype=np.int64), {}, vectors)

    @property
    def counts(self) -> Counts:
        return Counts(len(self.numbers), len(self.face_ids), self.version)

    def after(self, changes: Changes) -> Snapshot:
        """Only the latest snapshot may be followed, and only once."""
        if changes.removed:
            return self._without(changes.removed).after(replace(changes, removed=frozenset()))
        return self._with(changes)

    def nearest(self, model: str, probe: Embedding, top_k: int) -> list[Resemblance]:
        """Ties go to the smaller person_id, then the smaller face_id, on every worker."""
        if not self.face_ids:
            return []
        products = (self.vectors[model].rows @ probe).astype(np.float64)
        similarities = products.clip(-1, 1).round(DECIMALS)
        ranked = sorted(
            (-similarities[row], self.person_ids[row], self.face_ids[row])
            for row in self._contenders(similarities, top_k)
        )
        best: dict[str, Resemblance] = {}
        for distance, person_id, face_id in ranked:
            best.setdefault(person_id, Resemblance(person_id, face_id, float(-distance)))
        return list(islice(best.values(), top_k))

    def _contenders(self, similarities: NDArray[np.float64], top_k: int) -> NDArray[np.intp]:
        """Rows that reach what the top-k persons' best faces reach; more on a tie."""
        best = np.full(len(self.numbers), -np.inf)
        np.maximum.at(best, self.owners, similarities)
        weakest = max(len(best) - top_k, 0)
        return np.flatnonzero(similarities >= np.partition(best, weakest)[weakest])

    def _with(self, changes: Changes) -> Snapshot:
        numbers = dict(self.numbers)
        owners = [numbers.setdefault(person_id, len(numbers)) for person_id in changes.person_ids]
        return Snapshot(
            version=changes.version,
            face_ids=self.face_ids + changes.face_ids,
            person_ids=self.person_ids + changes.person_ids,
            owners=np.append(self.owners, np.array(owners, dtype=np.int64)),
            numbers=numbers,
            vectors={
                name: vectors.appended(changes.vectors[name])
                for name, vectors in self.vectors.items()
            },
        )

    def _without(self, removed: frozenset[str]) -> Snapshot:
        mask = np.array([face_id not in removed for face_id in self.face_ids], dtype=np.bool_)
        person_ids = tuple(compress(self.person_ids, mask))
        numbers = {person_id: i for i, person_id in enumerate(dict.fromkeys(person_ids))}
        return Snapshot(
            version=self.version,
            face_ids=tuple(compress(self.face_ids, mask)),
            person_ids=person_ids,
            owners=np.array([numbers[person_id] for person_id in person_ids], dtype=np.int64),
            numbers=numbers,
            vectors={name: vectors.kept(mask) for name, vectors in self.vectors.items()},
        )


class ExactIndex:
    """The latest snapshot of a change log, for the networks of one stamp."""

    def __init__(self, log: ChangeLog, stamp: ModelStamp) -> None:
        self._log = log
        self._stamp = stamp
        self._latest = Snapshot.empty()
        self._advancing = Lock()

    def search(self, model: str, probe: Embedding, top_k: int) -> SearchResult:
        snapshot = self._caught_up()
        return SearchResult(snapshot.nearest(model, probe, top_k), snapshot.counts)

    def counts(self) -> Counts:
        return self._caught_up().counts

    def _caught_up(self) -> Snapshot:
        """The snapshot of all that was committed before this call; one row read if nothing was."""
        if self._log.version() != self._latest.version:
            with self._advancing:
                self._advance()
        return self._latest

    def _advance(self) -> None:
        """Asks again, now that no other thread is advancing. A restored backup starts anew."""
        version = self._log.version()
        if version < self._latest.version:
            self._latest = Snapshot.empty()
        if version > self._latest.version:
            changes = self._log.changes_since(self._latest.version, self._stamp)
            self._latest = self._latest.after(changes)
