"""Opaque cursors: where the next page of a list starts."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from inference_server.intake import IDENTIFIER
from inference_server.problems import InvalidOption


def encode_cursor(person_id: str | None) -> str | None:
    if person_id is None:
        return None
    return urlsafe_b64encode(person_id.encode("ascii")).decode("ascii")


def decode_cursor(cursor: str | None) -> str | None:
    """The identifier after which a page starts.

    Raises:
        InvalidOption: not a cursor that was given out.
    """
    if cursor is None:
        return None
    try:
        person_id = urlsafe_b64decode(cursor).decode("ascii")
    except ValueError as error:
        raise InvalidOption(f"cursor={cursor[:64]!r} was not given out here.") from error
    if not IDENTIFIER.fullmatch(person_id):
        raise InvalidOption(f"cursor={cursor[:64]!r} was not given out here.")
    return person_id
