"""Earlier searches, newest first: as much of each as a list shows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.paging import Page, read_page
from gateway_server.people import NO_CREDIBLE_LEAD
from gateway_server.review.leads import Pair
from gateway_server.review.ruled_out import RuledOut, read_ruled_out
from gateway_server.schemas import SearchPage, SearchSummary, Status
from gateway_server.tables import Job, Lead, Person, Search, now
from gateway_server.texts import LINE, fold

MOST_LOOKS: Final = 5


@dataclass(frozen=True)
class SearchesWanted:
    """All of them, if nothing is said; `case_reference`: a part of it.

    `verdict`: that holds today; the conditions let some through of whom the answer knows better.
    """

    status: Status | None = None
    verdict: str | None = None
    model: str | None = None
    case_reference: str | None = None
    since: datetime | None = None

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        wanted = [Search.model == self.model] if self.model else []
        wanted += [_may_be(self.verdict)] if self.verdict else []
        wanted += _in_status(self.status) if self.status else []
        wanted += [Search.created_at >= self.since] if self.since else []
        part = fold(LINE.check("case_reference", self.case_reference or ""))
        return [*wanted, *([Search.case_text.contains(part, autoescape=True)] if part else [])]


class SearchHistory:
    def __init__(self, database: Database, least_confidence: float) -> None:
        """`least_confidence`: of what is put to reviewers."""
        self._database = database
        self._least_confidence = least_confidence

    async def list(self, wanted: SearchesWanted, cursor: str | None, limit: int) -> SearchPage:
        """With today's names of those who were found, not those of the day of the search."""
        async with self._database.read() as session:
            page, ruled_out = await self._read(session, wanted, cursor, limit)
            names = await _names_of_best(session, page.rows)
            running = await _held(session, [row.id for row in page.rows if row.status == "queued"])
        searches = [
            SearchSummary.from_row(row, names, ruled_out, is_running=row.id in running)
            for row in page.rows
        ]
        return SearchPage(searches=searches, next_cursor=page.next_cursor)

    async def _read(
        self, session: AsyncSession, wanted: SearchesWanted, cursor: str | None, limit: int
    ) -> tuple[Page[Search], RuledOut]:
        """Looks further while reviewers have left too few, and not for ever."""
        kept: list[Search] = []
        pairs: frozenset[Pair] = frozenset()
        for _ in range(MOST_LOOKS):
            rows_left = limit - len(kept)
            page: Page[Search]
            page = await read_page(session, Search, wanted.conditions(), cursor, rows_left)
            photos = {row.photo_sha256 for row in page.rows}
            ruled_out = await read_ruled_out(session, photos, self._least_confidence)
            kept += [row for row in page.rows if _is_of(row, ruled_out, wanted.verdict)]
            pairs, cursor = pairs | ruled_out.pairs, page.next_cursor
            if cursor is None or len(kept) == limit:
                break
        return Page(kept, cursor), RuledOut(pairs, self._least_confidence)


def _may_be(verdict: str) -> ColumnElement[bool]:
    """A no can take a lead away, and adds none."""
    if verdict != NO_CREDIBLE_LEAD:
        return Search.verdict == verdict
    is_no = Lead.status.concat("") == "different"  # or SQLite asks for all noes, for every search
    judged = exists().where(Lead.photo_sha256 == Search.photo_sha256, is_no)
    return or_(Search.verdict == verdict, and_(Search.verdict.is_not(None), judged))


def _is_of(search: Search, ruled_out: RuledOut, verdict: str | None) -> bool:
    if verdict is None or search.answer is None:
        return verdict is None
    told: str = ruled_out.told(search.photo_sha256, search.answer)["verdict"]
    return told == verdict


def _is_held() -> ColumnElement[bool]:
    return exists().where(
        Job.kind == "search", Job.subject_id == Search.id, Job.leased_until > now()
    )


def _in_status(status: Status) -> list[ColumnElement[bool]]:
    """A running search is a queued one whose job somebody holds."""
    match status:
        case "running":
            return [Search.status == "queued", _is_held()]
        case "queued":
            return [Search.status == "queued", ~_is_held()]
    return [Search.status == status]


async def _held(session: AsyncSession, search_ids: Collection[str]) -> set[str]:
    if not search_ids:
        return set()
    held = select(Job.subject_id).where(
        Job.kind == "search", Job.subject_id.in_(search_ids), Job.leased_until > now()
    )
    return set(await session.scalars(held))


async def _names_of_best(session: AsyncSession, rows: Sequence[Search]) -> dict[str, str]:
    ids = {
        row.answer["candidates"][0]["person_id"]
        for row in rows
        if row.answer and row.answer["candidates"]
    }
    named = await session.execute(select(Person.id, Person.name).where(Person.id.in_(ids)))
    return {row.id: row.name for row in named}
