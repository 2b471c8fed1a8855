"""From what reviewers have said of a pair, a probe's face and a person, to what holds.

    open        nobody has said same or different
    awaiting    one has said same; another has to agree, without knowing it
    confirmed   two have said same
    different   one has said different, and nobody the same: the pair never comes back
    disputed    both were said; an admin who comes after that has the last word

Voices are counted by key, each with what it said last: a mistake is mended by whoever made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_server.auth import Caller
from gateway_server.tables import LeadStatus

WAITING: Final[tuple[LeadStatus, ...]] = ("open", "awaiting", "disputed")
REVIEWERS_AGREED: Final = 2


@dataclass(frozen=True)
class Voice:
    key_id: str
    role: str
    verdict: str
    given_at: datetime
    reviewer: str = ""
    """The name of the key."""


def decide(voices: Sequence[Voice]) -> LeadStatus:
    same = [one for one in voices if one.verdict == "same"]
    different = [one for one in voices if one.verdict == "different"]
    if same and different:
        return _settle(same, different)
    if different:
        return "different"
    if len(same) >= REVIEWERS_AGREED:
        return "confirmed"
    return "awaiting" if same else "open"


def _settle(same: Sequence[Voice], different: Sequence[Voice]) -> LeadStatus:
    """By the last admin whose voice came third."""
    begun_at = max(min(one.given_at for one in side) for side in (same, different))
    later = [one for one in (*same, *different) if one.given_at > begun_at and one.role == "admin"]
    if not later:
        return "disputed"
    last = max(later, key=lambda one: one.given_at)
    return "confirmed" if last.verdict == "same" else "different"


def may_see_voices(voices: Sequence[Voice], caller: Caller) -> bool:
    """What others have said is for those who have had their say, or once it is decided."""
    has_spoken = any(one.key_id == caller.key_id for one in voices)
    return has_spoken or decide(voices) not in WAITING
