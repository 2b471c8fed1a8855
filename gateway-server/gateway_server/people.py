"""The people behind an inference tier's candidates: who they are today, and who is out of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.tables import Merge, Person, Removal

LEAD = "lead"
NO_CREDIBLE_LEAD = "no_credible_lead"
_IDS: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_NAMED = select(Person.id, Person.name, Person.found_at).where(Person.id.in_(_IDS))
_STAYING = _NAMED.order_by(Person.id).with_for_update(read=True, key_share=True)
_MERGED = select(Merge.person_id, Merge.into_id, Merge.faces).where(Merge.person_id.in_(_IDS))
_REMOVED = select(Removal.person_id).where(Removal.person_id.in_(_IDS), Removal.face_id.is_(None))


@dataclass(frozen=True)
class Successor:
    """Who somebody is since the merge; `faces`: the id that each face has, by the one it had."""

    person_id: str
    faces: Mapping[str, str]

    def of(self, candidate: Mapping[str, Any]) -> dict[str, Any]:
        face_id = candidate["face_id"]
        return {
            **candidate,
            "person_id": self.person_id,
            "face_id": self.faces.get(face_id, face_id),
        }


@dataclass(frozen=True)
class People:
    names: dict[str, str]
    gone: frozenset[str]
    """Found or deleted since: the inference tier may not have heard of it yet."""
    successors: Mapping[str, Successor] = field(default_factory=dict)
    """By the id that the inference tier may still find them under."""

    def today(self, person_id: str) -> str:
        """Their id since the merge, if there was one."""
        successor = self.successors.get(person_id)
        return successor.person_id if successor else person_id

    def left_of(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer without them, and everybody else once; where nobody is left, no lead is."""
        today = follow(answer["candidates"], self.successors)
        left = [one for one in today if one["person_id"] not in self.gone]
        verdict = _verdict(answer, left) if today[:1] != left[:1] else answer["verdict"]
        return {**answer, "candidates": ranked(left), "verdict": verdict}


def follow(
    candidates: Sequence[Mapping[str, Any]], successors: Mapping[str, Successor]
) -> Sequence[Mapping[str, Any]]:
    """Each under the id of today; of two who are one by now, the better."""
    followed: dict[str, Mapping[str, Any]] = {}
    for one in candidates:
        successor = successors.get(one["person_id"])
        today = successor.of(one) if successor else one
        followed.setdefault(today["person_id"], today)
    return list(followed.values())


def ranked(candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "rank": rank} for rank, one in enumerate(candidates, start=1)]


async def read_people(session: AsyncSession, person_ids: Collection[str]) -> People:
    """Within a transaction that writes, they stay who they are until its end."""
    asked = set(person_ids)
    successors = await _read_successors(session, asked)
    rows = await _hold(session, asked | _ids_of(successors))
    if asked - rows.keys() - successors.keys() or _ids_of(successors) - rows.keys():
        successors = await _read_successors(session, asked)  # merged while we waited for the rows
        rows |= await _hold(session, _ids_of(successors) - rows.keys())
    found = {row.id for row in rows.values() if row.found_at is not None}
    removed = await session.scalars(_REMOVED, {"ids": sorted(asked - successors.keys())})
    names = {row.id: row.name for row in rows.values()}
    return People(names, frozenset(found.union(removed)), successors)


async def _read_successors(session: AsyncSession, person_ids: set[str]) -> dict[str, Successor]:
    merged = await session.execute(_MERGED, {"ids": sorted(person_ids)})
    return {row.person_id: Successor(row.into_id, row.faces) for row in merged}


async def _hold(session: AsyncSession, person_ids: set[str]) -> dict[str, Any]:
    """In the order of their ids."""
    held = await session.execute(_STAYING, {"ids": sorted(person_ids)})
    return {row.id: row for row in held}


def _ids_of(successors: Mapping[str, Successor]) -> set[str]:
    return {one.person_id for one in successors.values()}


def _verdict(answer: Mapping[str, Any], left: Sequence[Mapping[str, Any]]) -> str:
    """Of those who are left when the best is gone; earlier tiers did not say who is a lead."""
    if not left:
        return NO_CREDIBLE_LEAD
    return LEAD if left[0].get("is_lead", answer["verdict"] == LEAD) else NO_CREDIBLE_LEAD
