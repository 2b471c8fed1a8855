"""Many enrolments in one transaction: each as if it came alone, in the order given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from inference_server.gallery import ModelStamp, Reference

Written = Literal["new", "replaced", "repeated", "in-use", "deleted"]
"""`replaced`: other networks or settings had made its vectors; `in-use`: see FaceIdInUse;
`deleted`: the face, or its person, has been, and stays so."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Where an enrolled face comes from; `is_current`: today's networks made its vectors."""

    face_id: str
    person_id: str
    photo_sha256: str
    face_index: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """As much of a stored face as decides over another enrolment under its face_id."""

    person_id: str
    photo_sha256: str
    face_index: int
    stamps: frozenset[ModelStamp]

    def meets(self, reference: Reference) -> Written:
        origin = (reference.person_id, reference.photo_sha256, reference.face_index)
        if origin != (self.person_id, self.photo_sha256, self.face_index):
            return "in-use"
        return "repeated" if reference.stamp in self.stamps else "replaced"


@dataclass(frozen=True, slots=True)
class Batch:
    """`written`: the references that are to be stored; `outcomes` runs parallel to what came."""

    outcomes: Sequence[Written]
    written: Sequence[Reference]


def settle(
    references: Sequence[Reference],
    stored: Mapping[str, Trace],
    departed: Collection[str] = frozenset(),
) -> Batch:
    """`stored`: by face_id, of the batch's own; `departed`: face_ids of the deleted among them."""
    known = dict(stored)
    written: dict[str, Reference] = {}
    outcomes: list[Written] = []
    for reference in references:
        before = known.get(reference.face_id)
        outcome: Written = "new" if before is None else before.meets(reference)
        if reference.face_id in departed:
            outcome = "deleted"
        if outcome in {"new", "replaced"}:
            written[reference.face_id] = reference
            known[reference.face_id] = _trace_of(reference)
        outcomes.append(outcome)
    return Batch(outcomes, list(written.values()))


def _trace_of(reference: Reference) -> Trace:
    stamps = frozenset({reference.stamp})
    return Trace(reference.person_id, reference.photo_sha256, reference.face_index, stamps)
