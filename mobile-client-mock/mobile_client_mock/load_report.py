"""What a load has measured: counts that add up, latencies, rates."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mobile_client_mock.errors import Refused, Unreachable

SATURATED_BELOW = 0.95  # of the offered rate
IDLE_PERCENT = 10  # of the searches met a gateway with little else to do
DIGITS = 4  # of a second: more than a network's jitter
Ending = Literal["done", "refused", "failed", "lost"]


@dataclass(frozen=True)
class Plan:
    phones: int  # at the same time, at most
    rate_per_s: float
    duration_s: float
    repeat_share: float  # 0..1 of the searches send a photo that was sent before
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Of one search. Times are seconds since the start."""

    due_s: float
    started_s: float  # when a phone was free for it
    accepted_s: float | None  # when the gateway acknowledged it; None: it did not
    ended_s: float
    cached: bool
    is_final: bool  # the gateway said how it ended, or never acknowledged it
    status: int  # of the problem that it ended with; 0: none
    reason: str  # `422 no-face`; empty where it is done

    @property
    def ending(self) -> Ending:
        """A refusal is the gateway's word on the request; anything else acknowledged is lost."""
        if not self.reason:
            return "done"
        if self.is_final and 400 <= self.status < 500:
            return "refused"
        return "failed" if self.accepted_s is None else "lost"

    @property
    def finished_after_s(self) -> float:
        return self.ended_s - self.due_s


@dataclass(frozen=True)
class Quantiles:
    """By nearest rank."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True)
class LoadReport:
    plan: Plan
    window_s: float  # in which searches were offered
    due_s: tuple[float, ...]  # of those offered
    outcomes: tuple[Outcome, ...]
    setbacks: Counter[str]  # answers after which a phone tried again
    is_interrupted: bool

    def count(self, ending: Ending) -> int:
        return sum(one.ending == ending for one in self.outcomes)

    @property
    def accepted(self) -> int:
        return sum(one.accepted_s is not None for one in self.outcomes)

    @property
    def unended(self) -> int:
        """Due, and under way or waiting for a phone when it was interrupted."""
        return len(self.due_s) - len(self.outcomes)

    @property
    def reasons(self) -> Counter[tuple[Ending, str]]:
        return Counter((one.ending, one.reason) for one in self.outcomes if one.reason)

    @property
    def offered_per_s(self) -> float:
        return self._per_s(len(self.due_s))

    @property
    def achieved_per_s(self) -> float:
        """Done while searches were still being offered."""
        in_time = (one for one in self._done if one.ended_s <= self.window_s)
        return self._per_s(sum(1 for _ in in_time))

    @property
    def is_saturated(self) -> bool:
        """Not blamed for what came too late to end in the window, even from an idle gateway."""
        uncached = (one for one in self._done if not one.cached)
        took_s = sorted(one.ended_s - one.started_s for one in uncached)
        idle_s = nearest_rank(took_s, IDLE_PERCENT) or 0.0
        in_time = sum(due_s + idle_s <= self.window_s for due_s in self.due_s)
        return self.achieved_per_s < SATURATED_BELOW * self._per_s(in_time)

    @property
    def is_clean(self) -> bool:
        """Nothing was lost, by the gateway or by a phone that broke, and no 500 was seen."""
        is_whole = self.is_interrupted or not self.unended
        seen_500 = any(one.status == 500 for one in self.outcomes)
        return is_whole and not seen_500 and not self.count("lost")

    @property
    def done_per_s(self) -> tuple[int, ...]:
        """In each second since the start, until the last search ended."""
        ended = Counter(int(one.ended_s) for one in self._done)
        return tuple(ended[second] for second in range(max(ended, default=-1) + 1))

    def accepted_after(self, *, cached: bool) -> Quantiles | None:
        return quantiles(
            one.accepted_s - one.due_s
            for one in self.outcomes
            if one.accepted_s is not None and one.cached == cached
        )

    def finished_after(self, *, cached: bool) -> Quantiles | None:
        return quantiles(one.finished_after_s for one in self._done if one.cached == cached)

    @property
    def waited_for_phone(self) -> Quantiles | None:
        """Part of every latency; much of it: too few phones for so slow a gateway."""
        return quantiles(max(0.0, one.started_s - one.due_s) for one in self.outcomes)

    def document(self) -> dict[str, Any]:
        latencies = {
            "accepted_uncached": self.accepted_after(cached=False),
            "accepted_cached": self.accepted_after(cached=True),
            "finished_uncached": self.finished_after(cached=False),
            "finished_cached": self.finished_after(cached=True),
            "waited_for_phone": self.waited_for_phone,
        }
        return {
            "plan": asdict(self.plan),
            "interrupted": self.is_interrupted,
            "window_s": round(self.window_s, DIGITS),
            "offered_per_s": round(self.offered_per_s, DIGITS),
            "achieved_per_s": round(self.achieved_per_s, DIGITS),
            "saturated": self.is_saturated,
            "searches": self._counts(),
            "reasons": [
                {"ending": ending, "reason": reason, "count": count}
                for (ending, reason), count in self.reasons.most_common()
            ],
            "tried_again_after": dict(self.setbacks.most_common()),
            "latencies": {name: asdict(one) if one else None for name, one in latencies.items()},
            "done_per_s": list(self.done_per_s),
            "last_done_s": round(max((one.ended_s for one in self._done), default=0.0), DIGITS),
        }

    @property
    def _done(self) -> Sequence[Outcome]:
        return [one for one in self.outcomes if one.ending == "done"]

    def _counts(self) -> dict[str, int]:
        ended: dict[str, int] = {ending: self.count(ending) for ending in get_args(Ending)}
        due = {"due": len(self.due_s), "accepted": self.accepted}
        return {**due, **ended, "unended": self.unended}

    def _per_s(self, count: int) -> float:
        return count / self.window_s if self.window_s else 0.0


def quantiles(latencies_s: Iterable[float]) -> Quantiles | None:
    ordered = sorted(round(latency_s, DIGITS) for latency_s in latencies_s)
    if not ordered:
        return None
    p50_s, p95_s, p99_s, max_s = (nearest_rank(ordered, p) or 0.0 for p in (50, 95, 99, 100))
    return Quantiles(len(ordered), p50_s, p95_s, p99_s, max_s)


def nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least so many percent of them do not exceed."""
    rank = -(-percent * len(ordered) // 100)
    return ordered[rank - 1] if ordered else None


def label(said: Exception | None) -> str:
    """`422 no-face`, `no answer`; empty for None."""
    if said is None:
        return ""
    problem = said.problem if isinstance(said, Unreachable) else said
    if isinstance(problem, Refused):
        kind = problem.slug if "type" in problem.members else ""
        return f"{problem.status} {kind}".rstrip()
    return "no answer in time" if isinstance(said, Unreachable) else "not understood"
