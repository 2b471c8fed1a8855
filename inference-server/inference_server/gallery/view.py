"""The gallery at one moment: a base that is never changed, what died in it, and a tail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import (
    BEGINNING,
    Counts,
    Embedding,
    FaceBatch,
    Identifiers,
    Moment,
    News,
    Resemblance,
    Vectors,
)
from inference_server.gallery.news import BATCH_ROWS
from inference_server.gallery.ranking import Part, nearest
from inference_server.gallery.rows import IDENTIFIER
from inference_server.gallery.scan import Rows, Scan
from inference_server.gallery.segment import Segment, empty_segment
from inference_server.gallery.tail import Tail


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A segment, without the rows that died since it was made."""

    segment: Segment
    dead: NDArray[np.bool_]
    buried: int

    @classmethod
    def of(cls, segment: Segment) -> Base:
        dead = np.zeros(segment.count, dtype=np.bool_)
        return cls(segment, dead, 0)

    @property
    def face_ids(self) -> Identifiers:
        return self.segment.face_ids

    @property
    def person_ids(self) -> Identifiers:
        return self.segment.person_ids

    def living_rows_of(self, face_ids: Identifiers) -> Rows:
        rows = self.segment.rows_of(face_ids)
        return rows[~self.dead[rows]]

    def without(self, rows: Rows) -> Base:
        if not len(rows):
            return self
        dead = self.dead.copy()
        dead[rows] = True
        return replace(self, dead=dead, buried=self.buried + len(rows))

    def scan(self, model: str) -> Scan:
        return self.segment.scan(model)

    def alive(self, rows: Rows) -> NDArray[np.bool_]:
        return ~self.dead[rows] if self.buried else np.ones(len(rows), dtype=np.bool_)

    def take(self, model: str, rows: Rows) -> Vectors:
        return self.segment.source.take(model, rows)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """`living`: how many faces the persons have whom a change has touched since the base."""

    moment: Moment
    base: Base
    tail: Tail
    living: Mapping[bytes, int]
    persons: int

    @classmethod
    def of(cls, segment: Segment, moment: Moment) -> View:
        base = Base.of(segment)
        return cls(moment, base, Tail.empty(), {}, segment.persons)

    @classmethod
    def empty(cls) -> View:
        return cls.of(empty_segment(), BEGINNING)

    @property
    def faces(self) -> int:
        return self.base.segment.count - self.base.buried + len(self.tail)

    @property
    def counts(self) -> Counts:
        return Counts(self.persons, self.faces, self.moment.version)

    def nearest(self, model: str, probe: Embedding, top_k: int) -> list[Resemblance]:
        wanted = min(top_k, self.persons)
        parts: list[Part] = [part for part in (self.base, self.tail) if len(part.face_ids)]
        if not wanted:
            return []
        everyone = self.base.segment.count + len(self.tail)
        found = nearest(parts, model, probe, wanted, everyone)
        self.base.segment.release(model)
        return found

    def batches(self) -> Iterator[FaceBatch]:
        """All living faces."""
        yield from self.base.segment.batches(~self.base.dead, BATCH_ROWS)
        if len(self.tail):
            yield self.tail.as_batch()

    def without(self, removed: frozenset[str]) -> View:
        if not removed:
            return self
        face_ids = np.array(sorted(removed), dtype=IDENTIFIER)
        rows = self.base.living_rows_of(face_ids)
        kept = ~np.isin(self.tail.face_ids, face_ids)
        gone = np.append(self.base.person_ids[rows], self.tail.person_ids[~kept])
        fewer = replace(self, base=self.base.without(rows), tail=self.tail.kept(kept))
        return _recounted(fewer, gone, -1)

    def appended(self, batch: FaceBatch) -> View:
        """Only the latest view may be followed, and only once."""
        more = replace(self, tail=self.tail.appended(batch))
        return _recounted(more, batch.person_ids, +1)

    def after(self, news: News) -> View:
        view = self.without(news.removed)
        for batch in news.batches:
            view = view.appended(batch)
        return replace(view, moment=news.moment)


def _recounted(view: View, person_ids: Identifiers, change: int) -> View:
    """After so many of their faces came (+1 each) or went (-1 each)."""
    living, persons = dict(view.living), view.persons
    names, faces = np.unique(person_ids, return_counts=True)
    for name, number in zip(names.tolist(), faces.tolist(), strict=True):
        before = living[name] if name in living else view.base.segment.faces_of(name)
        living[name] = before + change * number
        persons += (living[name] > 0) - (before > 0)
    return replace(view, living=living, persons=persons)
