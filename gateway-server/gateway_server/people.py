"""The people behind an inference tier's candidates: their names today, and who is out of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.tables import Person, Removal

_IDS: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_NAMED = select(Person.id, Person.name, Person.found_at).where(Person.id.in_(_IDS))
_REMOVED = select(Removal.person_id).where(Removal.person_id.in_(_IDS), Removal.face_id.is_(None))


@dataclass(frozen=True)
class People:
    names: dict[str, str]
    gone: frozenset[str]
    """Found or deleted since: the inference tier may not have heard of it yet."""

    def left_of(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer without them; where nobody is left, there is no lead."""
        left = [one for one in answer["candidates"] if one["person_id"] not in self.gone]
        candidates = [{**one, "rank": rank} for rank, one in enumerate(left, start=1)]
        verdict = answer["verdict"] if left else "no_credible_lead"
        return {**answer, "candidates": candidates, "verdict": verdict}


async def read_people(session: AsyncSession, person_ids: Collection[str]) -> People:
    ids = {"ids": sorted(person_ids)}
    rows = (await session.execute(_NAMED, ids)).all()
    found = {row.id for row in rows if row.found_at is not None}
    removed = await session.scalars(_REMOVED, ids)
    return People({row.id: row.name for row in rows}, frozenset(found.union(removed)))
