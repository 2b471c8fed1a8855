"""Time of several graphs, side by side: one process, one thread, one face, taking turns.

Processor time of the one thread: on a core of its own that is the latency, and on a busy machine
it does not count how long the thread waited.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime

from face_models.training.compression.quantise import Feed

ROUNDS = 200
WARM_UP_ROUNDS = 10


@dataclass(frozen=True)
class Latency:
    """`ratio`: the median over all rounds of this graph's time by the first one's."""

    median_ms: float
    ratio: float


def race(
    sessions: Mapping[str, onnxruntime.InferenceSession], feed: Feed, rounds: int = ROUNDS
) -> dict[str, Latency]:
    """Every session answers `feed` once a round.

    What else runs on the machine (caches, clock) slows all of a round alike, so the ratios are
    steadier than the times.
    """
    for session in sessions.values():
        for _ in range(WARM_UP_ROUNDS):
            session.run(None, dict(feed))
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            started = time.thread_time()
            session.run(None, dict(feed))
            times[name].append(1000 * (time.thread_time() - started))
    first = np.array(next(iter(times.values())))
    return {
        name: Latency(round(float(np.median(ms)), 3), round(float(np.median(ms / first)), 3))
        for name, ms in times.items()
    }
