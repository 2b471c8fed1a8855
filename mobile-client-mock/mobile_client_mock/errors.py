"""Why the phone could not do what it was asked.

ClientError
├── UnusablePhoto      the file cannot be read as a photo; nothing was sent
├── ScenarioError      the scenario file does not say what to do
├── Refused            the gateway answered with a problem, and sending again would change nothing
├── Unreachable        no answer, or none but "not now", within the attempts allowed
├── NotUnderstood      an answer that is not in the contract
└── NotSaved           the answer is there and the file for it cannot be written
"""

from collections.abc import Mapping
from typing import Any, Final

_KEPT: Final = ("search", "person")


class ClientError(Exception):
    pass


class UnusablePhoto(ClientError):
    pass


class ScenarioError(ClientError):
    pass


class NotUnderstood(ClientError):
    pass


class NotSaved(ClientError):
    pass


class Refused(ClientError):
    def __init__(self, status: int, members: Mapping[str, Any], request_id: str) -> None:
        """`members` are those of RFC 9457 and whatever else the gateway had to say."""
        self.status = status
        self.members = members
        self.request_id = request_id
        title = str(members.get("title", f"HTTP {status}"))
        detail = str(members.get("detail", ""))
        super().__init__(title if detail in {"", title} else f"{title}: {detail}")

    @property
    def recorded_as(self) -> str | None:
        """`search s-1` where the gateway keeps what it was asked and will do the rest later."""
        kept = (
            f"{kind} {self.members[f'{kind}_id']}" for kind in _KEPT if f"{kind}_id" in self.members
        )
        return next(kept, None)

    @property
    def slug(self) -> str:
        """`no-face` of `urn:reunite:problem:no-face`."""
        return str(self.members.get("type", "about:blank")).rpartition(":")[2]


class Unreachable(ClientError):
    def __init__(
        self,
        message: str,
        problem: Refused | None = None,
        retry_after_s: float | None = None,
        *,
        is_undone: bool = False,
        is_replay: bool = False,
    ) -> None:
        """`problem` is the gateway's own word, if it had one.

        `is_undone`: surely nothing came of the request. Otherwise nobody knows.
        `is_replay`: it is the word that the request's first try was given.
        """
        super().__init__(message)
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.is_undone = is_undone
        self.is_replay = is_replay
