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
from typing import Any


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
    def slug(self) -> str:
        """`no-face` of `urn:reunite:problem:no-face`."""
        return str(self.members.get("type", "about:blank")).rpartition(":")[2]


class Unreachable(ClientError):
    def __init__(
        self, message: str, problem: Refused | None = None, retry_after_s: float | None = None
    ) -> None:
        """`problem` is the gateway's own word, if it had one."""
        super().__init__(message)
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def is_recorded(self) -> bool:
        """The gateway keeps the person and will do the rest later; again would be twice."""
        return self.problem is not None and "person_id" in self.problem.members
