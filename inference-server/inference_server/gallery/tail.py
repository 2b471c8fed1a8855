"""Faces that came after the base: few, in memory, appended while others search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import MODELS, FaceBatch, Identifiers, Vectors
from inference_server.gallery.rows import IDENTIFIER
from inference_server.gallery.scan import FloatScan, Rows, Scan

FIRST_CAPACITY: Final = 64


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
class Tail:
    """All run parallel. Only the latest may be appended to."""

    face_ids: Identifiers
    person_ids: Identifiers
    vectors: Mapping[str, GrowingVectors]

    @classmethod
    def empty(cls) -> Tail:
        nobody = np.empty(0, dtype=IDENTIFIER)
        return cls(nobody, nobody, {model: GrowingVectors.empty() for model in MODELS})

    def __len__(self) -> int:
        return len(self.face_ids)

    def appended(self, batch: FaceBatch) -> Tail:
        return Tail(
            np.append(self.face_ids, batch.face_ids),
            np.append(self.person_ids, batch.person_ids),
            {model: rows.appended(batch.vectors[model]) for model, rows in self.vectors.items()},
        )

    def kept(self, mask: NDArray[np.bool_]) -> Tail:
        if mask.all():
            return self
        vectors = {model: rows.kept(mask) for model, rows in self.vectors.items()}
        return Tail(self.face_ids[mask], self.person_ids[mask], vectors)

    def as_batch(self) -> FaceBatch:
        vectors = {model: rows.rows for model, rows in self.vectors.items()}
        return FaceBatch(self.face_ids, self.person_ids, vectors)

    def scan(self, model: str) -> Scan:
        return FloatScan(self.vectors[model].rows)

    def alive(self, rows: Rows) -> NDArray[np.bool_]:
        return np.ones(len(rows), dtype=np.bool_)

    def take(self, model: str, rows: Rows) -> Vectors:
        return self.vectors[model].rows[rows]
