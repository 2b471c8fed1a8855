"""Taking turns: A B A B …, so that a slow minute of the machine meets both ways."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Protocol

WARM_UPS = 3


class Measured(Protocol):
    """What a benchmark found; str() of it is for people."""

    def figures(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Comparison:
    """Times in milliseconds, one per turn; the first way named is ours."""

    title: str
    times_ms: Mapping[str, list[float]]  # key of the figure -> times
    labels: Mapping[str, str]

    @property
    def ratio(self) -> float:
        """How many times as long the other way takes, median of the turns' own ratios."""
        ours, theirs = self.times_ms.values()
        return median(b / a for a, b in zip(ours, theirs, strict=True))

    def figures(self) -> dict[str, float]:
        ours = next(iter(self.times_ms))
        medians = {key: round(median(times), 2) for key, times in self.times_ms.items()}
        return {**medians, f"{ours.removesuffix('_p50_ms')}_speedup": round(self.ratio, 2)}

    def __str__(self) -> str:
        lines = [self.title]
        for key, times in self.times_ms.items():
            low, high = quantiles(times, n=10)[0], quantiles(times, n=10)[-1]
            lines.append(
                f"  {self.labels[key]:58} {median(times):8.1f} ms   (p10 {low:.1f}, p90 {high:.1f})"
            )
        lines.append(f"  {'ratio, median of the turns':58} {self.ratio:8.1f} x")
        return "\n".join(lines)


def take_turns(
    title: str, ways: Mapping[str, tuple[str, Callable[[], object]]], rounds: int
) -> Comparison:
    """Time each way once a round, in the order given, after a few rounds that do not count."""
    times: dict[str, list[float]] = {key: [] for key in ways}
    for number in range(WARM_UPS + rounds):
        for key, (_, way) in ways.items():
            started = time.perf_counter()
            way()
            if number >= WARM_UPS:
                times[key].append(1000 * (time.perf_counter() - started))
    return Comparison(title, times, {key: label for key, (label, _) in ways.items()})


@contextmanager
def every_core() -> Iterator[int]:
    """The other benchmarks have pinned this process to one."""
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield len(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, pinned)
