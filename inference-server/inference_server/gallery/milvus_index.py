"""Search in Milvus: it names the faces, the truth in SQL says how similar they are.

Any number of workers on any number of machines follow the change log into one collection, without
a lock. Each writes what it has read, then the position it has reached; who finds the position
there already has nothing to do. Killed in between, a worker leaves changes without a position, and
the next one writes the same rows again. What Milvus names and SQL no longer holds is not answered.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final

from inference_server.gallery import (
    BEGINNING,
    Counts,
    Embedding,
    ModelStamp,
    Resemblance,
    SearchResult,
    StoreUnavailable,
)
from inference_server.gallery.ledger import Ledger, Page
from inference_server.gallery.milvus_faces import MOST_ROWS, MilvusFaces
from inference_server.gallery.rescoring import is_certain, rank_persons

FIRST_ROWS: Final = 64
ROWS_PER_PERSON: Final = 4
GROWTH: Final = 4
SCORE_ERROR: Final = 2e-6
"""Milvus and NumPy add the same float32 products in another order."""


class MilvusIndex:
    """The vectors of one stamp."""

    def __init__(self, ledger: Ledger, stamp: ModelStamp, faces: MilvusFaces) -> None:
        self.stamp: Final = stamp
        self.faces: Final = faces
        self._ledger = ledger
        self._counts: Counts | None = None
        self._moment = BEGINNING  # at which they were counted, or earlier
        self._advancing = Lock()

    def search(self, model: str, probe: Embedding, top_k: int) -> SearchResult:
        counts = self._caught_up()
        if counts.faces == 0:
            return SearchResult([], counts)
        try:
            return SearchResult(self.nearest(model, probe, top_k), counts)
        except StoreUnavailable:
            self._counts = None  # what came back may not be what went away: look again
            raise

    def counts(self) -> Counts:
        return self._caught_up()

    def tidy(self) -> None:
        """Also while no search comes: whoever is removed leaves the collection in due time."""
        self._caught_up()

    def nearest(
        self, model: str, probe: Embedding, top_k: int, but: str | None = None
    ) -> list[Resemblance]:
        """As the collection is now; asks for more rows until no other person can be nearer."""
        limit = max(FIRST_ROWS, ROWS_PER_PERSON * top_k)
        while True:
            hits = self.faces.nearest(model, probe, limit, but)
            known = self._ledger.faces([hit.face_id for hit in hits], self.stamp)
            ranked = rank_persons(model, probe, known)
            all_seen = len(hits) < limit or limit == MOST_ROWS
            if all_seen or is_certain(ranked, top_k, hits[-1].score + SCORE_ERROR):
                return ranked[:top_k]
            limit = min(GROWTH * limit, MOST_ROWS)

    def follow(self, on_page: Callable[[Page], None] = lambda _: None) -> Counts:
        """Brings the collection up to date, page by page; broken off, it goes on from there.

        A position where this gallery never was is of another one, or of this one before a backup
        was put back: the collection starts anew. The log is asked after the position, so that it
        is not merely another worker that was faster.
        """
        position = self.faces.position()
        if position != BEGINNING and not self._ledger.was_at(position):
            self.faces.drop()
            position = BEGINNING
        for page in self._ledger.pages(position.version, self.stamp):
            self.faces.apply(page)
            if page.moment.version > position.version and page.moment.mark:
                self.faces.reach(page.moment)
            on_page(page)
            counts = page.counts
        assert counts is not None  # noqa: S101 - the last page knows them
        return counts

    def _caught_up(self) -> Counts:
        """After all that was committed before this call; one row read if nothing was."""
        counts = self._counts
        if counts is None or self._ledger.moment() != self._moment:
            with self._advancing:
                counts = self._advanced()
        return counts

    def _advanced(self) -> Counts:
        """Asks again, now that no other thread is advancing."""
        moment = self._ledger.moment()
        if self._counts is None or moment != self._moment:
            self._counts, self._moment = self.follow(), moment
        return self._counts
