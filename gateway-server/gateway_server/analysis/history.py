"""Searches with the verdicts on them, people, and failures: in order, some at a time."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import select, tuple_
from sqlalchemy.orm import raiseload

from gateway_server.analysis.period import Period
from gateway_server.database import Database
from gateway_server.tables import Failure, Feedback, Person, Search

AT_A_TIME: Final = 500
R = TypeVar("R", Search, Failure)


@dataclass(frozen=True)
class Told:
    """Searches that follow one another, and every verdict on one of them."""

    searches: Sequence[Search]
    verdicts: Sequence[Feedback]


class History:
    def __init__(self, database: Database, period: Period) -> None:
        self._database = database
        self._period = period

    async def searches(self) -> AsyncIterator[Told]:
        async for searches in self._rows(Search):
            ids = [one.id for one in searches]
            theirs = select(Feedback).where(Feedback.search_id.in_(ids))
            async with self._database.read() as session:
                ordered = theirs.order_by(Feedback.created_at, Feedback.id)
                verdicts = (await session.scalars(ordered)).all()
            yield Told(searches, verdicts)

    async def failures(self) -> AsyncIterator[Sequence[Failure]]:
        async for failures in self._rows(Failure):
            yield failures

    async def persons(self, ids: Collection[str]) -> AsyncIterator[Sequence[Person]]:
        """Those of them who are still there."""
        ordered = sorted(ids)
        for start in range(0, len(ordered), AT_A_TIME):
            some = Person.id.in_(ordered[start : start + AT_A_TIME])
            query = select(Person).where(some).options(raiseload("*"))
            async with self._database.read() as session:
                yield (await session.scalars(query.order_by(Person.id))).all()

    async def _rows(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        """In short transactions: a long one would keep the database from tidying up."""
        query = select(kind).where(*self._period.holds(kind))
        query = query.order_by(kind.created_at, kind.id).limit(AT_A_TIME)
        following = query
        while True:
            async with self._database.read() as session:
                rows = (await session.scalars(following)).all()
            if not rows:
                return
            yield rows
            place = tuple_(kind.created_at, kind.id)
            last = rows[-1]
            following = query.where(place > tuple_(last.created_at, last.id))
