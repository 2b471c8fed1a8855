"""What a request carries: photos and options, each checked once, here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import IO, Final

from flask import Request
from werkzeug.datastructures import FileStorage

from inference_server.problems import InvalidOption, PhotoMissing

FORM_OVERHEAD_BYTES: Final = 64 * 1024
"""Boundaries, part headers and option fields that may come on top of the photos."""

PIECE_BYTES: Final = 64 * 1024  # of a form, as werkzeug reads it
FORM_MEMORY_BYTES: Final = PIECE_BYTES + 16 * 1024
"""Of texts, and of what waits to be understood: the next piece comes on top of what may be the
beginning of a boundary, so less than a piece and its rest would refuse photos at random."""

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NATURAL: Final = re.compile(r"[0-9]{1,9}")


class PhotoRequest(Request):
    """Uploads stay in memory: a photo of a face never touches this server's disk."""

    def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
        return BytesIO()


def read_photo(request: Request) -> bytes:
    """The photo of a form's field `photo`, or the whole body if that is of type image/*.

    Raises:
        PhotoMissing, InvalidOption: no photo, or two.
    """
    if request.mimetype.startswith("image/"):
        return request.get_data(cache=False)
    return read_photos(request, "photo")["photo"]


def read_photos(request: Request, *fields: str) -> Mapping[str, bytes]:
    """One file in each of these fields of a form, and none elsewhere.

    Raises:
        PhotoMissing, InvalidOption: a field without a file, or with two.
    """
    if request.mimetype != "multipart/form-data":
        raise PhotoMissing(f"Send multipart/form-data with a file in {_listed(fields)}.")
    for stranger in sorted(request.files.keys() - set(fields)):
        raise PhotoMissing(f"The file belongs in {_listed(fields)}, not in {stranger[:64]!r}.")
    return {field: _one(field, request.files.getlist(field)).read() for field in fields}


def _one(field: str, uploads: list[FileStorage]) -> FileStorage:
    if not uploads:
        raise PhotoMissing(f"There is no file in the form's field {field!r}.")
    if len(uploads) > 1:
        raise InvalidOption(f"The form's field {field!r} holds {len(uploads)} files, not one.")
    return uploads[0]


def _listed(fields: Collection[str]) -> str:
    return " and ".join(repr(field) for field in fields)


class Options:
    """The options of a request, from its form and its query; each may be given once.

    Raises:
        InvalidOption: on construction, where a name is not in `known` or comes twice.
    """

    def __init__(self, request: Request, known: Collection[str]) -> None:
        self._given: dict[str, str] = {}
        for source in (request.args, request.form):
            for name, values in source.lists():
                if name not in known:
                    raise InvalidOption(f"There is no option {name[:64]!r} here.")
                if len(values) > 1 or name in self._given:
                    raise InvalidOption(f"Option {name!r} is given more than once.")
                self._given[name] = values[0]

    def natural(self, name: str, default: int, *, at_least: int = 0, at_most: int) -> int:
        given = self.optional_natural(name, at_least=at_least, at_most=at_most)
        return default if given is None else given

    def optional_natural(self, name: str, *, at_least: int = 0, at_most: int) -> int | None:
        given = self._given.get(name)
        if given is None:
            return None
        if not _NATURAL.fullmatch(given) or not at_least <= int(given) <= at_most:
            raise InvalidOption(
                f"{name}={given[:64]!r} is not a whole number in {at_least}..{at_most}."
            )
        return int(given)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        given = self._given.get(name, default)
        if given not in choices:
            raise InvalidOption(f"{name}={given[:64]!r} is not one of {_listed(choices)}.")
        return given

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def identifier(self, name: str) -> str | None:
        given = self._given.get(name)
        return None if given is None else checked_identifier(name, given)


def checked_identifier(name: str, given: str) -> str:
    """`given` itself.

    Raises:
        InvalidOption: not 1 to 64 letters, digits, hyphens and underscores.
    """
    if not IDENTIFIER.fullmatch(given):
        raise InvalidOption(f"{name}={given[:64]!r} does not match {IDENTIFIER.pattern}.")
    return given
