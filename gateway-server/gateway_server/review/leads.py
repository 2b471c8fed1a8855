"""The rows of leads, and of the voices on them, within the callers' transactions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.auth import Caller
from gateway_server.database import on_postgresql
from gateway_server.review.decisions import WAITING, Voice, decide
from gateway_server.tables import ApiKey, Lead, LeadStatus, LeadVoice, Search, now

_LEADS = Lead.metadata.tables[Lead.__tablename__]
_VOICES = LeadVoice.metadata.tables[LeadVoice.__tablename__]
MOST_OTHERS = 1_000  # searches that are looked at for a lead's next one
_PAIR = ("photo_sha256", "face", "person_id")


@dataclass(frozen=True, order=True)
class Pair:
    """A face of a photo, and a person: what a verdict is about, whichever search showed it."""

    photo_sha256: str
    face: int
    person_id: str


def leads_in(
    search_id: str, photo_sha256: str, answer: Mapping[str, Any], least_confidence: float
) -> Sequence[dict[str, Any]]:
    """The rows of an answer's candidates who are worth a reviewer's time."""
    return [
        _row(Pair(photo_sha256, answer["face"], one["person_id"]), search_id, one["confidence"])
        for one in answer["candidates"]
        if one["confidence"] >= least_confidence
    ]


async def record(session: AsyncSession, rows: Iterable[Mapping[str, Any]]) -> None:
    """Pairs that are new wait; of those that wait the newest search is shown; decided ones stay."""
    in_order = sorted(rows, key=_pair_of)  # one order: no deadlock
    if not in_order:
        return
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    statement = insert(_LEADS)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=_PAIR,
            set_={name: statement.excluded[name] for name in ("search_id", "doubt")},
            where=_LEADS.c.waits,
        ),
        in_order,
    )


async def give_voice(
    session: AsyncSession,
    pair: Pair,
    search_id: str,
    confidence: float,
    caller: Caller,
    verdict: str,
) -> LeadStatus:
    """What holds of the pair, now that the caller has said this, too."""
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    row = _row(pair, search_id, confidence)
    await session.execute(insert(_LEADS).values(row).on_conflict_do_nothing())
    lead = await session.get_one(Lead, _key(pair), with_for_update=True)
    waited = lead.waits
    await _say(session, pair, caller.key_id, verdict)
    await _weigh(session, lead)
    if lead.waits and not (waited and lead.search_id):  # it waits anew: shown by this search
        lead.search_id, lead.doubt = search_id, 1 - confidence
    return lead.status


async def _say(session: AsyncSession, pair: Pair, key_id: str, verdict: str) -> None:
    """Under the lead's lock. Once more the same is nothing new."""
    voice = await session.get(LeadVoice, (*_key(pair), key_id))
    if voice is None:
        voice = LeadVoice(**vars(pair), key_id=key_id)
        session.add(voice)
    if voice.verdict != verdict:
        voice.verdict, voice.given_at = verdict, now()
    if verdict == "same":
        voice.same_at = voice.same_at or voice.given_at
    elif verdict == "different":
        voice.different_at = voice.different_at or voice.given_at
    await session.flush()


async def voices_on(
    session: AsyncSession, pairs: Collection[Pair]
) -> Mapping[Pair, Sequence[Voice]]:
    """In the order in which they were given; of each pair that is asked for."""
    shas = {pair.photo_sha256 for pair in pairs}
    rows = await session.execute(
        select(LeadVoice, ApiKey.role, ApiKey.name)
        .join(ApiKey, ApiKey.id == LeadVoice.key_id)
        .where(LeadVoice.photo_sha256.in_(shas))
        .order_by(LeadVoice.given_at)
    )
    found: dict[Pair, list[Voice]] = {pair: [] for pair in pairs}
    for row, role, name in rows:
        pair = Pair(row.photo_sha256, row.face, row.person_id)
        if pair in found:
            found[pair].append(
                Voice(
                    row.key_id,
                    role,
                    row.verdict,
                    row.given_at,
                    name,
                    row.same_at,
                    row.different_at,
                )
            )
    return found


async def forget_person(session: AsyncSession, person_id: str) -> None:
    """Their deletion: nobody is to be compared with them."""
    await _lock(session, Lead.person_id == person_id)
    await session.execute(delete(Lead).where(Lead.person_id == person_id))


async def move_person(session: AsyncSession, person_id: str, into: str) -> None:
    """Two people turn out to be one: what was said of either was said of that one."""
    for lead in await _lock(session, Lead.person_id.in_((person_id, into))):
        if lead.person_id == person_id:
            await _move(session, lead, into)
    await forget_person(session, person_id)


async def _move(session: AsyncSession, lead: Lead, into: str) -> None:
    pair = Pair(lead.photo_sha256, lead.face, into)
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    row = _row(pair, lead.search_id, 1 - lead.doubt)
    await session.execute(insert(_LEADS).values(row).on_conflict_do_nothing())
    theirs = replace(pair, person_id=lead.person_id)
    for voice in (await voices_on(session, [theirs]))[theirs]:
        names = ("key_id", "verdict", "given_at", "same_at", "different_at")
        said = {name: getattr(voice, name) for name in names}
        moved = insert(_VOICES).values({**vars(pair), **said})
        await session.execute(moved.on_conflict_do_nothing())
    kept = await session.get_one(Lead, _key(pair), with_for_update=True)
    kept.search_id = kept.search_id or lead.search_id
    await _weigh(session, kept)


async def retire(session: AsyncSession, search_ids: Collection[str]) -> None:
    """Undecided leads go with the last search that shows them; what is decided stays."""
    theirs = and_(Lead.search_id.in_(search_ids), Lead.waits)
    others = await _others_showing(session, theirs, search_ids)  # locked before the leads
    for lead in await _lock(session, theirs):
        lead.search_id = others.get(Pair(lead.photo_sha256, lead.face, lead.person_id))
        if lead.search_id is None:
            await session.delete(lead)
    await session.flush()


async def _others_showing(
    session: AsyncSession, which: ColumnElement[bool], but: Collection[str]
) -> Mapping[Pair, str]:
    """The newest of the other searches of these photos, by the pairs that they show."""
    photos = select(Lead.photo_sha256).where(which)
    others = select(Search.id, Search.photo_sha256, Search.answer).where(
        Search.photo_sha256.in_(photos), Search.id.not_in(but), Search.answer.is_not(None)
    )
    newest = others.order_by(Search.created_at.desc(), Search.id.desc()).limit(MOST_OTHERS)
    rows = await session.execute(
        newest.with_for_update(read=True, key_share=True, skip_locked=True)
    )
    found: dict[Pair, str] = {}
    for row in rows:
        for one in row.answer["candidates"]:
            found.setdefault(Pair(row.photo_sha256, row.answer["face"], one["person_id"]), row.id)
    return found


async def _lock(session: AsyncSession, which: ColumnElement[bool]) -> Sequence[Lead]:
    in_order = select(Lead).where(which).order_by(Lead.photo_sha256, Lead.face, Lead.person_id)
    return (await session.scalars(in_order.with_for_update())).all()


async def _weigh(session: AsyncSession, lead: Lead) -> None:
    pair = Pair(lead.photo_sha256, lead.face, lead.person_id)
    voices = (await voices_on(session, [pair]))[pair]
    lead.status = decide(voices)
    lead.waits = lead.status in WAITING
    lead.unsure = sum(one.verdict == "unsure" for one in voices)
    lead.changed_at = now()
    await session.flush()


def _row(pair: Pair, search_id: str | None, confidence: float) -> dict[str, Any]:
    begins = {"status": "open", "waits": True, "unsure": 0, "created_at": now()}
    return {**vars(pair), "search_id": search_id, "doubt": 1 - confidence, **begins}


def _pair_of(row: Mapping[str, Any]) -> tuple[str, int, str]:
    return row["photo_sha256"], row["face"], row["person_id"]


def _key(pair: Pair) -> tuple[str, int, str]:
    return pair.photo_sha256, pair.face, pair.person_id
