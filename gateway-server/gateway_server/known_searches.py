"""A search whose answer the cache holds: photo, finished search, audit and answer in one go.

Nothing is promised before that transaction is committed, so that there is no work to queue and
nothing for a crash to leave behind. Those who come while one is written share the next.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import insert

from gateway_server.audit import entry_of, note_kept
from gateway_server.audit_chain import Entry, link
from gateway_server.database import Database
from gateway_server.inference_answers import Match
from gateway_server.intake import CheckedPhoto
from gateway_server.journal import current_request_id
from gateway_server.metrics import Metrics
from gateway_server.one_time import Given, Made, Once, Settled, settle
from gateway_server.people import People, read_people
from gateway_server.photo_archive import PhotoArchive
from gateway_server.review.leads import leads_in, record
from gateway_server.review.ruled_out import RuledOut, read_ruled_out
from gateway_server.rounds import Rounds
from gateway_server.schemas import SearchOut
from gateway_server.search_service import SearchRequest, SearchService
from gateway_server.tables import Search, now

MOST_AT_ONCE = 100
_INSERT = insert(Search.metadata.tables[Search.__tablename__])  # unmapped: it costs less


@dataclass(frozen=True)
class _Known:
    """All that is to be written of one search, but what only its transaction can tell."""

    photo: CheckedPhoto
    request: SearchRequest
    made: Made
    once: Once | None
    give: Callable[[SearchOut], Given]
    match: Match
    begun_s: float
    request_id: str
    entry: Entry

    def row(self, people: People) -> dict[str, Any]:
        answer = people.left_of(self.match.model_dump(mode="json", exclude={"timings_ms"}))
        moment = now()
        return {
            "id": self.made.subject_id,
            "status": "done",
            "created_at": moment,
            "finished_at": moment,
            "key_id": self.made.caller.key_id,
            "request_id": self.request_id,
            "photo_sha256": self.photo.name.sha256,
            **asdict(self.request.options),
            "case_reference": self.request.case_reference,
            "case_text": self.request.case_text,
            "purpose": self.request.purpose,
            "cached": True,
            "answer": answer,
            "verdict": answer["verdict"],
            "timings_ms": {"total": round((time.perf_counter() - self.begun_s) * 1000, 3)},
        }


@dataclass(frozen=True)
class _Draft:
    known: _Known
    row: Mapping[str, Any]
    given: Given


class KnownSearches:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        searches: SearchService,
        metrics: Metrics,
        least_confidence: float,
    ) -> None:
        """`least_confidence`: of what is put to reviewers."""
        self._least_confidence = least_confidence
        self._database = database
        self._archive = archive
        self._searches = searches
        self._metrics = metrics
        self._rounds = Rounds(self._write, MOST_AT_ONCE)

    async def answer(
        self,
        photo: CheckedPhoto,
        request: SearchRequest,
        made: Made,
        once: Once | None,
        give: Callable[[SearchOut], Given],
    ) -> Given | None:
        """None, and nothing has happened, where it has to go the long way.

        So it is without a cached answer, without the photo's file, and where the request's
        Idempotency-Key has been seen before.
        """
        begun_s = time.perf_counter()
        match = await self._searches.known_match(photo.name.sha256, request.options)
        if match is None:
            return None
        about = {"search_id": made.subject_id, "photo_sha256": photo.name.sha256}
        entry = entry_of("search", **about, purpose=request.purpose)
        given = await self._rounds.join(
            _Known(photo, request, made, once, give, match, begun_s, current_request_id(), entry)
        )
        if given is not None:
            note_kept()
            self._metrics.cache_looked_up(hit=True)
            self._metrics.search_ended("cached")
        return given

    async def _write(self, batch: Sequence[_Known]) -> Sequence[Given | None]:
        async with self._database.write() as session:
            people = await read_people(session, _person_ids(batch))  # locked before photos
            there = await self._archive.hold(session, {one.photo.name for one in batch})
            held = [one for one in batch if one.photo.name in there]
            photos = {one.photo.name.sha256 for one in held}
            ruled_out = await read_ruled_out(session, photos, self._least_confidence)
            drafts = [_draft(one, people, ruled_out) for one in held]
            new = await settle(session, [_settled(one) for one in drafts])
            kept = [one for one in drafts if one.known.made.subject_id in new]
            if kept:
                await session.execute(_INSERT, [one.row for one in kept])
                await record(session, self._leads_in(kept))
                await link(session, [one.known.entry for one in kept])
        given = {one.known.made.subject_id: one.given for one in kept}
        return [given.get(one.made.subject_id) for one in batch]

    def _leads_in(self, drafts: Sequence[_Draft]) -> Iterator[Mapping[str, Any]]:
        for one in drafts:
            found = (one.row["id"], one.row["photo_sha256"], one.row["answer"])
            yield from leads_in(*found, self._least_confidence)


def _person_ids(batch: Sequence[_Known]) -> set[str]:
    return {candidate.person_id for one in batch for candidate in one.match.candidates}


def _draft(known: _Known, people: People, ruled_out: RuledOut) -> _Draft:
    row = known.row(people)
    shown = SearchOut.from_row(Search(**row), people.names, ruled_out)
    return _Draft(known, row, known.give(shown))


def _settled(draft: _Draft) -> Settled:
    return Settled(draft.known.once, draft.known.made, draft.given)
