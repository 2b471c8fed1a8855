"""Tidies an index in the background, from a worker's start on."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import Final, Protocol

from inference_server.gallery import StoreUnavailable

TIDY_EVERY_S: Final = 300
"""A removed face is gone from every file after twice that: one worker writes, the others let go."""

log = logging.getLogger(__name__)


class Untidy(Protocol):
    def tidy(self) -> None: ...


class Housekeeping:
    """At once, so that a worker loads its gallery before the first search, and then regularly."""

    def __init__(self, index: Untidy, every_s: float = TIDY_EVERY_S) -> None:
        self._index = index
        self._every_s = every_s
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """In the process that searches: threads do not survive a fork."""
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self._index.tidy()
            except StoreUnavailable as outage:
                log.warning("the index is tidied later: %s", outage)
            except Exception:  # whoever is removed must leave the index, whatever went wrong once
                log.exception("the index is tidied later")
            if self._stopping.wait(self._every_s):
                return
