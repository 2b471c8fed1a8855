"""Whether the gateway can work now: database, photo store, and a real inference."""

import asyncio
from collections.abc import Awaitable

from gateway_server.database import Database
from gateway_server.inference_client import InferenceClient
from gateway_server.photo_store import PhotoStore
from gateway_server.problems import NotReady, Outage

OK = "ok"


class Readiness:
    def __init__(self, database: Database, store: PhotoStore, inference: InferenceClient) -> None:
        self._database = database
        self._store = store
        self._inference = inference

    async def check(self) -> dict[str, str]:
        """`ok` for each part; NotReady with all of them when one is not."""
        checks = {
            "database": await _outcome(self._database.ping()),
            "photos": await _outcome(asyncio.to_thread(self._write_photo)),
            "inference": await _outcome(self._inference.check_ready()),
        }
        away = ", ".join(name for name, outcome in checks.items() if outcome != OK)
        if away:
            raise NotReady(f"Not ready: {away}", checks=checks)
        return checks

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
