"""From what reviewers have said of a pair, a probe's face and a person, to what holds.

    open        nobody has said same or different
    awaiting    one has said same; another has to agree, without knowing it
    confirmed   two have said same
    different   one has said different, and nobody the same: the pair never comes back
    disputed    both were said; an admin who comes after that has the last word

Voices are counted by key, each with what it said last: a mistake is mended by whoever made it. When
a dispute began is told by when its sides first said so: who repeats it, or goes back to it, neither
begins a new one nor settles an old one.
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
    """When it began to say so."""
    reviewer: str = ""
    """The name of the key."""
    same_at: datetime | None = None
    """When it first said same, whatever it has said since."""
    different_at: datetime | None = None

    @property
    def on_this_side_since(self) -> datetime:
        return (self.same_at if self.verdict == "same" else self.different_at) or self.given_at

    @property
    def on_a_side_since(self) -> datetime:
        return min(filter(None, (self.same_at, self.different_at, self.given_at)))


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
    """By the last admin whose first voice came third: no party settles it."""
    begun_at = max(min(one.on_this_side_since for one in side) for side in (same, different))
    admins = [one for one in (*same, *different) if one.role == "admin"]
    later = [one for one in admins if one.on_a_side_since > begun_at]
    if not later:
        return "disputed"
    last = max(later, key=lambda one: one.given_at)
    return "confirmed" if last.verdict == "same" else "different"


def shown_to(caller: Caller, voices: Sequence[Voice]) -> Sequence[Voice]:
    """Their own until it is decided: whoever knew the others' could still change it to agree."""
    if decide(voices) not in WAITING:
        return voices
    return [one for one in voices if one.key_id == caller.key_id]
