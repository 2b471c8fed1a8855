"""The gateway put together: collaborators are made in the order of need, closed in reverse."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from gateway_server.auth import Keyring
from gateway_server.cache import open_cache
from gateway_server.database import Database
from gateway_server.enrolment import Enrolment
from gateway_server.failures import FailureLedger
from gateway_server.inference_client import InferenceClient, make_http
from gateway_server.intake import Intake, PhotoLimits
from gateway_server.leftovers import Leftovers
from gateway_server.metrics import Metrics
from gateway_server.person_service import PersonService
from gateway_server.photo_archive import PhotoArchive
from gateway_server.photo_store import PhotoFolder
from gateway_server.readiness import Readiness
from gateway_server.reenrolment import Reenrolment
from gateway_server.retries import Retries
from gateway_server.search_reader import SearchReader
from gateway_server.search_service import SearchService
from gateway_server.settings import Settings


@dataclass(frozen=True)
class Gateway:
    """What the routes reach for."""

    keyring: Keyring
    intake: Intake
    searches: SearchService
    search_reader: SearchReader
    persons: PersonService
    failures: FailureLedger
    retries: Retries
    reenrolment: Reenrolment
    leftovers: Leftovers
    readiness: Readiness
    max_photos_per_request: int


@asynccontextmanager
async def open_gateway(
    settings: Settings, metrics: Metrics, transport: httpx.AsyncBaseTransport | None
) -> AsyncIterator[Gateway]:
    """`transport` replaces the network between the gateway and the inference tier."""
    async with AsyncExitStack() as closing:
        database = Database(settings.database_url)
        closing.push_async_callback(database.close)
        await database.prepare()
        store = PhotoFolder(settings.photo_dir)
        store.prepare()
        cache = open_cache(
            settings.cache_url, entries=settings.cache_entries, ttl_s=settings.cache_ttl_s
        )
        closing.push_async_callback(cache.close)
        http = await closing.enter_async_context(make_http(settings, transport))
        inference = InferenceClient(http, metrics)
        archive = PhotoArchive(database, store)
        failures = FailureLedger(database)
        searches = SearchService(database, archive, inference, cache, failures, metrics)
        enrolment = Enrolment(database, archive, inference, failures, metrics)
        persons = PersonService(database, archive, inference, enrolment, failures)
        limits = PhotoLimits(settings.max_photo_bytes, settings.max_photo_pixels)
        yield Gateway(
            keyring=Keyring(database),
            intake=Intake(store, limits),
            searches=searches,
            search_reader=SearchReader(database, archive, inference),
            persons=persons,
            failures=failures,
            retries=Retries(database, failures, searches, enrolment, persons),
            reenrolment=Reenrolment(database, inference, enrolment),
            leftovers=Leftovers(database, failures, settings.abandoned_after_s),
            readiness=Readiness(database, store, inference),
            max_photos_per_request=settings.max_photos_per_request,
        )
