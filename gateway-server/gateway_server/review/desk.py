"""What reviewers see: the pairs that wait for them, those that are decided, and how one stands."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.auth import Caller
from gateway_server.database import Database
from gateway_server.paging import decode_place, encode_place
from gateway_server.problems import Forbidden, InvalidCursor
from gateway_server.review.decisions import WAITING, Voice, decide, shown_to
from gateway_server.review.leads import Pair, voices_on
from gateway_server.tables import Lead, LeadStatus, LeadVoice, Person, Search, is_id

MOST_COUNTED: Final = 500
MOST_UNSURE = MOST_FACES = 1_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLACE = (Lead.unsure, Lead.doubt, Lead.photo_sha256, Lead.face, Lead.person_id)
_AGE = (Lead.changed_at, Lead.photo_sha256, Lead.face, Lead.person_id)
Shown = tuple[Lead, Search | None, str, str | None]
Place = Sequence[str | int | float]


@dataclass(frozen=True)
class LeadSeen:
    """A pair as a caller may see it."""

    lead: Lead
    search: Search | None
    """None: it was kept no longer."""
    name: str
    reference: str | None
    voices: Sequence[Voice]
    """Of all once it is decided or an admin's to settle; none while it waits."""

    @property
    def candidate(self) -> Mapping[str, Any] | None:
        found = self._answer.get("candidates", ())
        return next((one for one in found if one["person_id"] == self.lead.person_id), None)

    @property
    def quality(self) -> int | None:
        """Of the probe's face, 0 to 100."""
        found = self._answer.get("faces", ())
        return next((one["quality"] for one in found if one["index"] == self.lead.face), None)

    @property
    def _answer(self) -> Mapping[str, Any]:
        return (self.search.answer if self.search else None) or {}


@dataclass(frozen=True)
class LeadPage:
    rows: Sequence[LeadSeen]
    next_cursor: str | None


@dataclass(frozen=True)
class Standing:
    """How a candidate of a search stands, for one caller."""

    status: LeadStatus | None
    """Until it is decided, what follows from their own voice alone; None where nothing does."""
    own: str | None
    """What they have said themselves."""
    voices: Sequence[Voice]
    """See `shown_to`."""


class ReviewDesk:
    def __init__(self, database: Database, least_confidence: float) -> None:
        """`least_confidence`: of candidates who are put to reviewers."""
        self._database = database
        self._least_confidence = least_confidence

    async def queue(self, caller: Caller, cursor: str | None, limit: int) -> LeadPage:
        """What waits for this caller, best first; whether others have judged it is not told."""
        query = self._waiting_for(caller).order_by(*_PLACE)
        if cursor is not None:
            query = query.where(tuple_(*_PLACE) > tuple_(*_decode_place(cursor)))
        async with self._database.read() as session:
            leads = (await session.scalars(query.limit(limit + 1))).all()
            rows = await _read(session, leads[:limit])
        seen = [LeadSeen(*row, voices=()) for row in rows if row[1] is not None]
        return LeadPage(seen, _cursor_of(leads, limit, _place_of))

    async def waiting(self, caller: Caller) -> int:
        """How many wait for them; counted up to MOST_COUNTED."""
        some = self._waiting_for(caller).limit(MOST_COUNTED).subquery()
        async with self._database.read() as session:
            return await session.scalar(select(func.count()).select_from(some)) or 0

    async def decided(
        self, status: LeadStatus, caller: Caller, cursor: str | None, limit: int
    ) -> LeadPage:
        """Of that status, the last one first. Disputed ones are an admin's to see."""
        if status == "disputed" and caller.role != "admin":
            raise Forbidden("What is disputed is for admins")
        query = select(Lead).join(Person, Person.id == Lead.person_id).where(Lead.status == status)
        query = query.order_by(*(column.desc() for column in _AGE))
        if cursor is not None:
            query = query.where(tuple_(*_AGE) < tuple_(*_decode_age(cursor)))
        async with self._database.read() as session:
            leads = (await session.scalars(query.limit(limit + 1))).all()
            rows = await _read(session, leads[:limit])
            voices = await voices_on(session, [_pair(row[0]) for row in rows])
        seen = [LeadSeen(*row, voices=voices[_pair(row[0])]) for row in rows]
        return LeadPage(seen, _cursor_of(leads, limit, _age_of))

    async def standings(
        self, photo_sha256: str, face: int, person_ids: Sequence[str], caller: Caller
    ) -> Mapping[str, Standing]:
        """By person."""
        pairs = [Pair(photo_sha256, face, one) for one in person_ids]
        async with self._database.read() as session:
            voices = await voices_on(session, pairs)
        return {pair.person_id: standing_of(voices[pair], caller) for pair in pairs}

    def _waiting_for(self, caller: Caller) -> Select[Lead]:
        """Less likely pairs are here because somebody has seen more in them: that is for admins."""
        statuses: tuple[LeadStatus, ...] = ("open", "awaiting")
        is_worth_it = Lead.doubt <= 1 - self._least_confidence
        if caller.role == "admin":
            statuses = (*statuses, "disputed")
            is_worth_it = or_(is_worth_it, Lead.status != "open")
        return (
            select(Lead)
            .join(Search, Search.id == Lead.search_id)
            .join(Person, Person.id == Lead.person_id)
            .where(Lead.waits, Lead.status.in_(statuses), is_worth_it)
            .where(Person.found_at.is_(None), ~_has_spoken(caller))
        )


def standing_of(voices: Sequence[Voice], caller: Caller) -> Standing:
    own = next((one.verdict for one in voices if one.key_id == caller.key_id), None)
    seen, holds = shown_to(caller, voices), decide(voices)
    if holds not in WAITING:
        return Standing(holds, own, seen)
    by_their_own = decide(seen)
    return Standing(by_their_own if own and by_their_own in WAITING else None, own, seen)


def _has_spoken(caller: Caller) -> ColumnElement[bool]:
    same_pair = and_(
        LeadVoice.photo_sha256 == Lead.photo_sha256,
        LeadVoice.face == Lead.face,
        LeadVoice.person_id == Lead.person_id,
    )
    return exists().where(same_pair, LeadVoice.key_id == caller.key_id)


async def _read(session: AsyncSession, leads: Sequence[Lead]) -> Sequence[Shown]:
    """With the searches that show them, and the people's names.

    Without people who were deleted, or merged, since the leads were read.
    """
    searches = await session.scalars(
        select(Search).where(Search.id.in_({one.search_id for one in leads}))
    )
    people = await session.execute(
        select(Person.id, Person.name, Person.reference).where(
            Person.id.in_({one.person_id for one in leads})
        )
    )
    by_id = {one.id: one for one in searches}
    named = {one.id: (one.name, one.reference) for one in people}
    return [
        (one, by_id.get(one.search_id or ""), *named[one.person_id])
        for one in leads
        if one.person_id in named
    ]


def _pair(lead: Lead) -> Pair:
    return Pair(lead.photo_sha256, lead.face, lead.person_id)


def _cursor_of(leads: Sequence[Lead], limit: int, place_of: Callable[[Lead], Place]) -> str | None:
    return encode_place(place_of(leads[limit - 1])) if len(leads) > limit else None


def _place_of(lead: Lead) -> Place:
    return [lead.unsure, lead.doubt, *_key(lead)]


def _age_of(lead: Lead) -> Place:
    changed_at = lead.changed_at or lead.created_at
    return [changed_at.isoformat(), *_key(lead)]


def _key(lead: Lead) -> tuple[str, int, str]:
    return lead.photo_sha256, lead.face, lead.person_id


def _decode_place(cursor: str) -> Sequence[object]:
    match decode_place(cursor):
        case [int(unsure), float(doubt) | int(doubt), *pair] if 0 <= unsure < MOST_UNSURE:
            return unsure, doubt, *_checked(pair, cursor)
    raise InvalidCursor(f"The cursor is {cursor!r}")


def _decode_age(cursor: str) -> Sequence[object]:
    match decode_place(cursor):
        case [str(moment), *pair]:
            try:
                changed_at = datetime.fromisoformat(moment).astimezone(UTC)
            except (ValueError, OverflowError) as error:
                raise InvalidCursor(f"The cursor is {cursor!r}") from error
            return changed_at, *_checked(pair, cursor)
    raise InvalidCursor(f"The cursor is {cursor!r}")


def _checked(pair: Sequence[object], cursor: str) -> Sequence[object]:
    """As a row could have it."""
    match pair:
        case [str(photo), int(face), str(person)] if (
            _SHA256.fullmatch(photo) and 0 <= face < MOST_FACES and is_id(person)
        ):
            return photo, face, person
    raise InvalidCursor(f"The cursor is {cursor!r}")
