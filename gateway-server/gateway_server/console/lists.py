"""What pages with lists have in common: filters as a form sends them, and the addresses around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args
from urllib.parse import urlencode

from fastapi import Request

from gateway_server.paging import MAX_CURSOR_CHARACTERS
from gateway_server.problems import InvalidCursor

CURSOR = "cursor"


@dataclass(frozen=True)
class Around:
    """Addresses of the list's other pages; None where there is none."""

    first: str | None
    next: str | None


def filters_of(request: Request, names: Sequence[str]) -> Mapping[str, str]:
    """Each of `names`, blank if it was not filled in."""
    return {name: request.query_params.get(name, "").strip() for name in names}


def one_of(options: object, text: str) -> str | None:
    """The text if it is one of a Literal's; whatever else a filter says is no filter."""
    return text if text in get_args(options) else None


def cursor_of(request: Request) -> str | None:
    cursor = request.query_params.get(CURSOR) or None
    if cursor is not None and len(cursor) > MAX_CURSOR_CHARACTERS:
        raise InvalidCursor("The cursor is too long")
    return cursor


def around(request: Request, next_cursor: str | None) -> Around:
    """The filters stay as they are."""
    kept = {name: text for name, text in request.query_params.items() if name != CURSOR and text}
    first = _address(request, kept) if cursor_of(request) else None
    following = _address(request, {**kept, CURSOR: next_cursor}) if next_cursor else None
    return Around(first, following)


def _address(request: Request, query: Mapping[str, str]) -> str:
    return f"{request.url.path}?{urlencode(query)}" if query else request.url.path
