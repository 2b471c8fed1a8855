"""The gateway put together: collaborators are made in the order of need, closed in reverse."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx

from gateway_server.audit import AuditLog
from gateway_server.auth import Keyring
from gateway_server.breaker import Breaker, BreakerSettings
from gateway_server.browser_sessions import BrowserSessions, SessionLimits
from gateway_server.cache import open_cache
from gateway_server.caretaker import Caretaker
from gateway_server.database import Database
from gateway_server.door import Door
from gateway_server.enrolment import Enrolment
from gateway_server.failures import FailureLedger
from gateway_server.imports.arrival import ImportIntake
from gateway_server.imports.import_folder import ImportFolder
from gateway_server.imports.importer import Importer
from gateway_server.imports.service import ImportLimits, ImportService
from gateway_server.inference_client import InferenceClient, make_http
from gateway_server.intake import Intake, PhotoLimits
from gateway_server.jobs import JobQueue
from gateway_server.known_searches import KnownSearches
from gateway_server.limits import open_limits
from gateway_server.merges import Merges
from gateway_server.metrics import Metrics
from gateway_server.one_time import AnswersKept, OneTimeRequests
from gateway_server.person_service import PersonService
from gateway_server.photo_archive import PhotoArchive
from gateway_server.photo_check import PhotoCheck
from gateway_server.photo_store import PhotoFolder
from gateway_server.readiness import Readiness
from gateway_server.reenrolment import Reenrolment
from gateway_server.removals import Removals
from gateway_server.retention import Retention
from gateway_server.retries import Retries
from gateway_server.review.desk import ReviewDesk
from gateway_server.search_desk import SearchDesk
from gateway_server.search_history import SearchHistory
from gateway_server.search_ledger import SearchLedger
from gateway_server.search_reader import SearchReader
from gateway_server.search_service import SearchService
from gateway_server.settings import Settings
from gateway_server.thumbnails import Thumbnails
from gateway_server.workers import Pace, Workers

LOOK_AGAIN_S = 2.0


@dataclass(frozen=True)
class Gateway:
    """What the routes reach for."""

    keyring: Keyring
    door: Door
    inference: InferenceClient
    browser_sessions: BrowserSessions
    audit: AuditLog
    intake: Intake
    one_time: OneTimeRequests
    search_desk: SearchDesk
    search_reader: SearchReader
    review: ReviewDesk
    persons: PersonService
    photo_archive: PhotoArchive
    thumbnails: Thumbnails
    photo_check: PhotoCheck
    search_history: SearchHistory
    import_intake: ImportIntake
    imports: ImportService
    failures: FailureLedger
    retries: Retries
    removals: Removals
    reenrolment: Reenrolment
    queue: JobQueue
    workers: Workers
    retention: Retention
    caretaker: Caretaker
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
        breaker = Breaker(BreakerSettings(settings.breaker_failures, settings.breaker_pause_s))
        inference = InferenceClient(http, metrics, breaker)
        archive = PhotoArchive(database, store)
        failures = FailureLedger(database, metrics)
        queue = JobQueue(database, settings.job_lease_s, settings.longest_pause_s)
        least = settings.review_min_confidence
        ledger = SearchLedger(database, queue, failures, least)
        searches = SearchService(database, archive, inference, cache, queue, ledger, metrics)
        known = KnownSearches(database, archive, searches, metrics, least)
        enrolment = Enrolment(database, archive, inference, queue, failures, metrics)
        look_again_s = min(LOOK_AGAIN_S, settings.longest_pause_s)
        removals = Removals(database, archive, inference, cache, queue, failures, look_again_s)
        limits = PhotoLimits(settings.max_photo_bytes, settings.max_photo_pixels)
        intake = Intake(store, limits, settings.upload_within_s)
        uploads = ImportFolder(settings.import_dir)
        imports = ImportService(
            database,
            uploads,
            Importer(database, archive, intake, queue, settings.import_batch),
            queue,
            ImportLimits(settings.import_max_rows, settings.max_photo_bytes),
            lambda: breaker.refuses_for_s,
        )
        await imports.sweep()
        workers = Workers(
            database,
            queue,
            {"search": searches, "enrolment": enrolment, "deletion": removals, "import": imports},
            _pace(settings),
            lambda: breaker.refuses_for_s,
            lambda: breaker.state == "half-open",
        )
        one_time = OneTimeRequests(database, settings.job_lease_s, AnswersKept.by(settings))
        keyring = Keyring(database)
        browser_sessions = BrowserSessions(database, _session_limits(settings))
        rates = open_limits(settings)
        closing.push_async_callback(rates.close)
        retention = Retention(database, archive, store, one_time, settings.retention_days)
        wait_s = settings.answer_wait_s
        thumbnails = Thumbnails(database, archive, inference)
        reader = SearchReader(database, archive, thumbnails, inference, least)
        merges = Merges(database, queue, failures, look_again_s)
        metrics.watch(queue, workers, breaker)
        yield Gateway(
            keyring=keyring,
            inference=inference,
            door=Door(keyring, browser_sessions, rates),
            browser_sessions=browser_sessions,
            audit=AuditLog(database),
            intake=intake,
            one_time=one_time,
            search_desk=SearchDesk(
                searches, known, reader, queue, workers, wait_s, settings.max_waiting
            ),
            search_reader=reader,
            review=ReviewDesk(database, least),
            persons=PersonService(database, archive, queue, removals, merges, workers, wait_s),
            photo_archive=archive,
            thumbnails=thumbnails,
            photo_check=PhotoCheck(database, archive, inference),
            search_history=SearchHistory(database, least),
            import_intake=ImportIntake(uploads, settings.import_max_bytes),
            imports=imports,
            failures=failures,
            retries=Retries(database, failures, searches, enrolment, removals, workers, wait_s),
            removals=removals,
            reenrolment=Reenrolment(database, inference, enrolment),
            queue=queue,
            workers=workers,
            retention=retention,
            caretaker=Caretaker(database, retention),
            readiness=Readiness(database, store, inference),
            max_photos_per_request=settings.max_photos_per_request,
        )


def _session_limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        idle=timedelta(seconds=settings.session_idle_s),
        idle_mobile=timedelta(seconds=settings.session_idle_mobile_s),
        longest=timedelta(seconds=settings.session_max_s),
    )


def _pace(settings: Settings) -> Pace:
    return Pace(
        concurrency=settings.job_concurrency,
        lease_s=settings.job_lease_s,
        attempts=settings.job_attempts,
        first_pause_s=settings.first_pause_s,
        longest_pause_s=settings.longest_pause_s,
        drain_s=settings.drain_s,
    )
