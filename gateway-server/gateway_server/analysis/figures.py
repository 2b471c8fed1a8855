"""What `stats` tells, counted in one pass over the searches."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from gateway_server.analysis.history import History, Told
from gateway_server.analysis.tables import candidate_of
from gateway_server.jobs import Depth, JobQueue

BANDS: Final = 10
JUDGEMENTS: Final = ("same", "different", "unsure")


@dataclass(frozen=True)
class Spread:
    median: float
    p95: float


@dataclass
class Figures:
    """`bands`: verdicts by the similarity of the candidate, [0.0, 0.1) first; below 0 counts there.

    Timings are those of searches that were not answered by the cache.
    """

    days: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    cached: int = 0
    done: int = 0
    bands: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(BANDS)])
    failures: Counter[str] = field(default_factory=Counter)
    open_failures: int = 0
    timings_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    depth: Depth = field(default_factory=lambda: Depth(0, 0.0))

    @property
    def cache_hit_rate(self) -> float | None:
        return self.cached / self.done if self.done else None

    def count(self, told: Told) -> None:
        for search in told.searches:
            self.days[f"{search.created_at:%Y-%m-%d}"] += 1
            self.statuses[search.status] += 1
            if search.status == "failed" and search.problem:
                self.refusals[search.problem["type"].rpartition(":")[2]] += 1
            self.done += search.status == "done"
            self.cached += search.cached
            if not search.cached:
                for stage, milliseconds in (search.timings_ms or {}).items():
                    self.timings_ms[stage].append(float(milliseconds))
        by_id = {one.id: one for one in told.searches}
        for verdict in told.verdicts:
            judged = candidate_of(by_id[verdict.search_id], verdict.person_id)
            if judged:
                self.bands[_band(judged["similarity"])][verdict.verdict] += 1

    def spreads(self) -> Mapping[str, Spread]:
        return {stage: spread_of(values) for stage, values in self.timings_ms.items()}

    def as_json(self) -> dict[str, Any]:
        rate = self.cache_hit_rate
        return {
            "searches_by_day": dict(sorted(self.days.items())),
            "searches_by_status": dict(self.statuses),
            "searches_failed_by_reason": dict(self.refusals),
            "cache_hit_rate": rate,
            "verdicts_by_similarity": [
                {"from": at / BANDS, "to": (at + 1) / BANDS, **{j: band[j] for j in JUDGEMENTS}}
                for at, band in enumerate(self.bands)
            ],
            "failures_by_reason": dict(self.failures),
            "failures_open": self.open_failures,
            "queue": asdict(self.depth),
            "timings_ms": {stage: asdict(one) for stage, one in self.spreads().items()},
        }


def _band(similarity: float) -> int:
    return min(BANDS - 1, max(0, math.floor(similarity * BANDS)))


def spread_of(values: Sequence[float]) -> Spread:
    """By nearest rank: both are values that were measured."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Spread(rank(0.5), rank(0.95))


async def gather(history: History, queue: JobQueue) -> Figures:
    figures = Figures()
    async for told in history.searches():
        figures.count(told)
    async for failures in history.failures():
        figures.failures.update(f"{one.kind} {one.reason}" for one in failures)
        figures.open_failures += sum(one.resolved_at is None for one in failures)
    figures.depth = await queue.depth()
    return figures
