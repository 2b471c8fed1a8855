"""The human no: what a search shows of people whom reviewers have judged to be somebody else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.people import NO_CREDIBLE_LEAD
from gateway_server.review.leads import Pair
from gateway_server.tables import Lead

_PHOTOS: BindParameter[Sequence[str]] = bindparam("photos", expanding=True)
_DIFFERENT = select(Lead.photo_sha256, Lead.face, Lead.person_id).where(
    Lead.photo_sha256.in_(_PHOTOS), Lead.status == "different"
)


@dataclass(frozen=True)
class RuledOut:
    pairs: frozenset[Pair]
    least_confidence: float
    """Of what is put to reviewers."""

    def told(self, photo_sha256: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, with each candidate's `ruled_out` and the verdict that the rest supports."""
        candidates = [
            {**one, "ruled_out": Pair(photo_sha256, answer["face"], one["person_id"]) in self.pairs}
            for one in answer["candidates"]
        ]
        return {**answer, "candidates": candidates, "verdict": self._verdict(answer, candidates)}

    def _verdict(self, answer: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> str:
        verdict: str = answer["verdict"]
        if not any(one["ruled_out"] for one in candidates):
            return verdict
        left = [one for one in candidates if not one["ruled_out"]]
        is_left = any(self._is_credible(one) for one in left)
        return verdict if is_left else NO_CREDIBLE_LEAD

    def _is_credible(self, candidate: Mapping[str, Any]) -> bool:
        """Earlier inference tiers did not say who is a lead."""
        by_confidence = candidate["confidence"] >= self.least_confidence
        return bool(candidate.get("is_lead", by_confidence))


async def read_ruled_out(
    session: AsyncSession, photo_sha256s: Collection[str], least_confidence: float
) -> RuledOut:
    rows = await session.execute(_DIFFERENT, {"photos": sorted(photo_sha256s)})
    return RuledOut(frozenset(Pair(*row) for row in rows), least_confidence)
