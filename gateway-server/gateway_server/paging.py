"""Opaque cursors: the place in a list, newest first, after which the next page begins."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.problems import InvalidCursor
from gateway_server.tables import ApiKey, Audit, Failure, ImportRun, Person, Search

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR_CHARACTERS = 200
_ID = re.compile(r"[0-9a-f-]{12,36}")
R = TypeVar("R", Person, Failure, ApiKey, Audit, ImportRun, Search)
T = TypeVar("T", Person, Failure, ApiKey, ImportRun, Search)


@dataclass(frozen=True)
class Cursor:
    created_at: datetime
    id: str

    def encode(self) -> str:
        return encode_place([self.created_at.isoformat(), self.id])

    @classmethod
    def decode(cls, text: str) -> Self:
        match decode_place(text):
            case [str(moment), str(row_id)] if _ID.fullmatch(row_id):
                try:
                    return cls(datetime.fromisoformat(moment).astimezone(UTC), row_id)
                except (ValueError, OverflowError) as error:
                    raise InvalidCursor(f"The cursor is {text!r}") from error
        raise InvalidCursor(f"The cursor is {text!r}")


def encode_place(place: Sequence[str | int | float]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decode_place(text: str) -> object:
    try:
        place: object = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError as error:
        raise InvalidCursor(f"The cursor is {text!r}") from error
    return place


@dataclass(frozen=True)
class Page(Generic[R]):
    rows: Sequence[R]
    next_cursor: str | None


async def read_page(
    session: AsyncSession,
    kind: type[T],
    wanted: Sequence[ColumnElement[bool]],
    cursor: str | None,
    limit: int,
) -> Page[T]:
    """The next `limit` rows that are wanted, and the cursor of those after them."""
    query = select(kind).where(*wanted)
    if cursor is not None:
        after = Cursor.decode(cursor)
        query = query.where(tuple_(kind.created_at, kind.id) < tuple_(after.created_at, after.id))
    ordered = query.order_by(kind.created_at.desc(), kind.id.desc()).limit(limit + 1)
    rows = (await session.scalars(ordered)).all()
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], Cursor(last.created_at, last.id).encode())
