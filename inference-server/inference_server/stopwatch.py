"""How long each step of an answer took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Started on construction."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._laps_ms: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self._laps_ms[name] = 1000 * (perf_counter() - started)

    def timings_ms(self, more: Mapping[str, float]) -> dict[str, float]:
        """`more`, then the laps, then the time since construction as `total`."""
        return {**more, **self._laps_ms, "total": 1000 * (perf_counter() - self._started)}
