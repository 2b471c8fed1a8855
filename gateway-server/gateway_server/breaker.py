"""A circuit breaker: after repeated failures calls are refused at once, until one has succeeded.

closed      calls pass; `failures` in a row open it
open        calls are refused for `pause_s`, longer with every probe that fails
half-open   one call at a time finds out; its success closes, its failure opens again
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

LONGEST_PAUSE_S = 15.0
State = Literal["closed", "half-open", "open"]


@dataclass(frozen=True)
class BreakerSettings:
    failures: int
    pause_s: float


class Breaker:
    def __init__(
        self, settings: BreakerSettings, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock_s = clock_s
        self._failed = 0  # in a row
        self._opens_until_s = 0.0
        self._pause_s = settings.pause_s
        self._probing = False

    @property
    def state(self) -> State:
        if self._failed < self._settings.failures:
            return "closed"
        return "open" if self.refuses_for_s > 0 else "half-open"

    @property
    def refuses_for_s(self) -> float:
        """0 where a call may be made now."""
        if self._failed < self._settings.failures:
            return 0.0
        if self._probing:
            return self._settings.pause_s
        return max(0.0, self._opens_until_s - self._clock_s())

    @property
    def is_probing(self) -> bool:
        """Whether the one call that finds out is under way; no other is begun then."""
        return self._probing

    def begin(self) -> bool:
        """Whether this call may be made; then one of the next three must follow."""
        if self.refuses_for_s > 0:
            return False
        self._probing = self._failed >= self._settings.failures
        return True

    def succeeded(self) -> None:
        self._failed, self._probing, self._pause_s = 0, False, self._settings.pause_s

    def failed(self) -> None:
        was_probe, self._probing = self._probing, False
        self._failed += 1
        if self._failed < self._settings.failures:
            return
        if was_probe:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - gateways shall not knock together
        self._opens_until_s = self._clock_s() + self._pause_s * jitter

    def abandoned(self) -> None:
        """It ended without telling anything of the other side: cancelled, or our own defect."""
        self._probing = False
