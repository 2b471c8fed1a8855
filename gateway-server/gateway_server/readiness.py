"""Whether the gateway can work now: database, photo store, and a real inference."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway_server.database import Database
from gateway_server.inference_client import InferenceClient
from gateway_server.photo_store import PhotoStore
from gateway_server.problems import NotReady, Outage

OK = "ok"
SHARED_FOR_S: Final = 5.0
"""Anybody may ask, and each check costs an inference: one answer serves all who ask meanwhile."""


class Readiness:
    def __init__(
        self,
        database: Database,
        store: PhotoStore,
        inference: InferenceClient,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._store = store
        self._inference = inference
        self._clock_s = clock_s
        self._checking = asyncio.Lock()
        self._checks: Mapping[str, str] = {}
        self._checked_at_s = -math.inf

    async def check(self) -> dict[str, str]:
        """`ok` for each part, at most 5 s old; NotReady with all of them when one is not."""
        async with self._checking:
            if self._clock_s() - self._checked_at_s >= SHARED_FOR_S:
                self._checks = await self._look()
                self._checked_at_s = self._clock_s()
        checks = dict(self._checks)
        away = ", ".join(name for name, outcome in checks.items() if outcome != OK)
        if away:
            raise NotReady(f"Not ready: {away}", checks=checks)
        return checks

    async def _look(self) -> dict[str, str]:
        return {
            "database": await _outcome(self._database.ping()),
            "photos": await _outcome(asyncio.to_thread(self._write_photo)),
            "inference": await _outcome(self._inference.check_ready()),
        }

    def _write_photo(self) -> None:
        spool = self._store.spool()
        try:
            spool.write(b"a photo could arrive")
            spool.finish()
        finally:
            spool.discard()


async def _outcome(check: Awaitable[None]) -> str:
    try:
        await check
    except Outage as outage:
        return outage.slug
    return OK
