"""What the server counts, in Prometheus' words, summed over its worker processes.

With PROMETHEUS_MULTIPROC_DIR set before this module is imported (`inference-server serve` does it),
every worker writes its numbers to that folder and any of them answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from inference_server.gallery import Counts

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NO_ROUTE: Final = "none"


class Metrics:
    """One registry per app, so that two apps of one process do not meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answers", "route", "status")
        self._problems = self._counter("problems", "Failures by problem type", "slug")
        self._searches = self._counter("searches", "Searches", "model", "verdict")
        self._enrolments = self._counter("enrolments", "Faces enrolled, repeats left out")
        self._request_s = self._histogram("request_seconds", "Time to answer", "route")
        self._step_s = self._histogram("step_seconds", "Time of a search's steps", "step")
        self._persons = self._gauge("gallery_persons", "Persons who can be found")
        self._faces = self._gauge("gallery_faces", "Faces that are searched")
        self._version = self._gauge("gallery_version", "Changes of the gallery so far")

    def count_request(self, route: str, status: int, problem: str | None, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)
        if problem is not None:
            self._problems.labels(problem).inc()

    def count_search(self, model: str, verdict: str, timings_ms: Mapping[str, float]) -> None:
        self._searches.labels(model, verdict).inc()
        for step, milliseconds in timings_ms.items():
            self._step_s.labels(step).observe(milliseconds / 1000)

    def count_enrolment(self) -> None:
        self._enrolments.inc()

    def show_gallery(self, counts: Counts) -> None:
        self._persons.set(counts.persons)
        self._faces.set(counts.faces)
        self._version.set(counts.version)

    def exposition(self) -> bytes:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"inference_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        full_name = f"inference_{name}"
        return Histogram(full_name, text, labels, buckets=BUCKETS_S, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        """Of all live workers, the one that looked last knows best."""
        return Gauge(
            f"inference_{name}",
            text,
            registry=self._registry,
            multiprocess_mode="livemostrecent",
        )
