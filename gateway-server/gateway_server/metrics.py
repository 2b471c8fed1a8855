"""What the gateway counts, in Prometheus' words; each app has its own registry."""

from contextlib import suppress
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway_server.breaker import Breaker, State
from gateway_server.problems import Outage

if TYPE_CHECKING:
    from gateway_server.jobs import JobQueue
    from gateway_server.workers import Workers

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "requests answered", "method", "route", "status")
        self._latency = self._histogram("request_seconds", "time to answer", "method", "route")
        self._searches = self._counter("searches", "searches ended", "outcome")
        self._enrolments = self._counter("enrolments", "photos sent for enrolment", "outcome")
        self._cache = self._counter("cache", "looks into the result cache", "outcome")
        self._calls = self._counter("inference_calls", "inference calls", "operation", "outcome")
        self._call_latency = self._histogram("inference_call_seconds", "their time", "operation")
        self._failures = self._counter("failures", "attempts without success", "kind", "reason")
        self._waiting = self._gauge("jobs_waiting", "jobs that nobody works on")
        self._oldest = self._gauge("jobs_oldest_seconds", "how long the oldest of them is due")
        self._running = self._gauge("jobs_running", "jobs that this process works on")
        self._breaker_state = self._gauge("breaker_state", "1 for the breaker's state", "state")
        self._queue: JobQueue | None = None
        self._workers: Workers | None = None
        self._breaker: Breaker | None = None

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gateway_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"gateway_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(
            f"gateway_{name}", text, labels, registry=self._registry, buckets=LATENCY_BUCKETS_S
        )

    def request_answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        known_method = method if method in _KNOWN_METHODS else "(other)"
        self._requests.labels(known_method, route, str(status)).inc()
        self._latency.labels(known_method, route).observe(duration_s)

    def search_ended(self, outcome: str) -> None:
        """`outcome`: done, cached, or the slug of the reason."""
        self._searches.labels(outcome).inc()

    def enrolment_ended(self, outcome: str) -> None:
        """`outcome`: enrolled, or the slug of the reason."""
        self._enrolments.labels(outcome).inc()

    def attempt_failed(self, kind: str, reason: str) -> None:
        self._failures.labels(kind, reason).inc()

    def cache_looked_up(self, *, hit: bool) -> None:
        self._cache.labels("hit" if hit else "miss").inc()

    def inference_called(self, operation: str, outcome: str, duration_s: float) -> None:
        self._calls.labels(operation, outcome).inc()
        self._call_latency.labels(operation).observe(duration_s)

    def watch(self, queue: "JobQueue", workers: "Workers", breaker: Breaker) -> None:
        """What stands, not what has happened: read when somebody asks for the figures."""
        self._queue, self._workers, self._breaker = queue, workers, breaker

    async def exposition(self) -> bytes:
        if self._queue is not None and self._workers is not None and self._breaker is not None:
            with suppress(Outage):
                depth = await self._queue.depth()
                self._waiting.set(depth.waiting)
                self._oldest.set(depth.oldest_s)
            self._running.set(self._workers.running)
            for state in get_args(State):
                self._breaker_state.labels(state).set(self._breaker.state == state)
        return generate_latest(self._registry)
