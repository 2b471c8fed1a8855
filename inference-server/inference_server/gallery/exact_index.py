"""Exact search in process: no person who is nearer is ever missed, whatever the vectors are.

An index is a chain of immutable views. A search works on the view it took, while another thread
may already append to the next one or put the base into a new snapshot.
"""

from __future__ import annotations

import logging
from itertools import chain
from threading import Lock
from typing import Final

from inference_server.gallery import (
    BEGINNING,
    ChangeLog,
    Counts,
    Embedding,
    ModelStamp,
    Moment,
    SearchResult,
)
from inference_server.gallery.segment import Segment
from inference_server.gallery.shelf import MemoryShelf, Shelf
from inference_server.gallery.snapshot import ShelfUnusable
from inference_server.gallery.view import View

LONGEST_TAIL: Final = 32_768
"""16 MiB of embeddings, a millisecond or two of every search; more faces belong into a base."""

log = logging.getLogger(__name__)


class ExactIndex:
    """The latest view of a change log, for the networks of one stamp.

    Locks are taken in one order: the shelf's, which all processes share, then `_advancing`.
    """

    def __init__(
        self,
        log: ChangeLog,
        stamp: ModelStamp,
        shelf: Shelf | None = None,
        longest_tail: int = LONGEST_TAIL,
    ) -> None:
        self._log = log
        self._stamp = stamp
        self._shelf = shelf or MemoryShelf()
        self._longest_tail = longest_tail
        self._latest = View.empty()
        self._advancing = Lock()

    def search(self, model: str, probe: Embedding, top_k: int) -> SearchResult:
        view = self._caught_up()
        return SearchResult(view.nearest(model, probe, top_k), view.counts)

    def counts(self) -> Counts:
        return self._caught_up().counts

    def tidy(self) -> None:
        """Called now and then, in the background, so that no search waits for it.

        Whoever was removed leaves the snapshot and its mapped memory; a long tail becomes part of
        the base; a snapshot that is broken, foreign or left behind goes.

        Raises:
            StoreUnavailable
        """
        self._caught_up()
        try:
            with self._shelf.held(wait=False) as alone:
                if alone:
                    self._tidy_alone()
        except ShelfUnusable as error:
            self._go_without_shelf(error)

    def _tidy_alone(self) -> None:
        """Catches up no more: whoever needs a new base would wait for the shelf, held here."""
        fetched = self._shelf.fetch(self._stamp)
        if fetched is not None:
            self._adopt(*fetched)
        view = self._latest
        too_long = len(view.tail) > self._longest_tail
        if view.base.buried or too_long or not self._shelf.keeps_only(view.base.segment):
            count = view.faces if view.base.segment.count or too_long else 0
            segment = self._shelf.put(self._stamp, view.moment, count, view.batches())
            if count or view.base.segment.count:
                self._adopt(segment, view.moment)

    def _caught_up(self) -> View:
        """The view of all that was committed before this call; one row read if nothing was."""
        if self._log.moment() != self._latest.moment and not self._advanced():
            self._rebase()
        return self._latest

    def _advanced(self) -> bool:
        """Asks again, now that no other thread is advancing; false if a new base is needed."""
        with self._advancing:
            if self._log.moment() == self._latest.moment:
                return True
            first = self._latest.moment == BEGINNING
            return self._follow(self._fetched() if first else self._latest)

    def _follow(self, view: View) -> bool:
        """A restored backup, or another gallery in this one's place, starts anew."""
        with self._log.news(view.moment, self._stamp) as news:
            known = View.empty() if news.anew else view
            if len(known.tail) + news.count > 2 * self._longest_tail:
                return False
            self._latest = known.after(news)
            return True

    def _rebase(self) -> None:
        """Too much is new for a tail. One process makes the snapshot, the others wait for it."""
        try:
            with self._shelf.held(wait=True), self._advancing:
                view = self._fetched()
                if not self._follow(view):
                    self._latest = self._with_new_base(view)
        except ShelfUnusable as error:
            self._go_without_shelf(error)
            self._rebase()

    def _with_new_base(self, view: View) -> View:
        with self._log.news(view.moment, self._stamp) as news:
            known = View.empty() if news.anew else view.without(news.removed)
            faces = chain(known.batches(), news.batches)
            count = known.faces + news.count
            segment = self._shelf.put(self._stamp, news.moment, count, faces)
            return View.of(segment, news.moment)

    def _fetched(self) -> View:
        """The snapshot's view if it is another, else the latest."""
        fetched = self._shelf.fetch(self._stamp)
        return self._latest if fetched is None else View.of(*fetched)

    def _adopt(self, segment: Segment, moment: Moment) -> None:
        """Its codes are loaded first, where this process uses them."""
        for model in self._latest.base.segment.loaded_models:
            segment.scan(model)
        view = View.of(segment, moment)
        with self._advancing, self._log.news(moment, self._stamp) as news:
            if not news.anew:
                self._latest = view.after(news)

    def _go_without_shelf(self, error: ShelfUnusable) -> None:
        log.warning("the index is kept in memory until the next start: %s", error)
        self._shelf = MemoryShelf()
