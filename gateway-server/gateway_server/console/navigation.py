"""The pages of the console, and who sees which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway_server.auth import Role

_OPERATORS: Final[tuple[Role, ...]] = ("operator", "admin")


@dataclass(frozen=True)
class Entry:
    """`name` is also the end of its text's key, `nav.<name>`, and of its icon's id."""

    name: str
    roles: tuple[Role, ...] = _OPERATORS

    @property
    def href(self) -> str:
        return f"/console/{self.name}"

    def is_at(self, path: str) -> bool:
        return path == self.href or path.startswith(f"{self.href}/")


ENTRIES: Final = (
    Entry("search"),
    Entry("people"),
    Entry("import"),
    Entry("review"),
    Entry("searches"),
    Entry("failures"),
    Entry("audit", roles=("admin",)),
    Entry("model"),
)


def entries_for(role: Role) -> Sequence[Entry]:
    return [one for one in ENTRIES if role in one.roles]
