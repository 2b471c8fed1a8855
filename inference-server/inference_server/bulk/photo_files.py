"""A source's photos as files: names that lead nowhere else, sizes known before anything is read."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import IO, Final

from inference_server.bulk import Listed, PhotoRefused, Refused
from inference_server.intake import checked_identifier
from inference_server.problems import InvalidOption

MAX_PATH_CHARACTERS: Final = 1000
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def check_path(path: str) -> str:
    """`path` itself: relative, downwards, printable.

    Raises:
        PhotoRefused: unsafe-path
    """
    is_safe = (
        len(path) <= MAX_PATH_CHARACTERS
        and "\\" not in path
        and not _DRIVE.match(path)
        and not any(part in {"", ".", ".."} for part in path.split("/"))
        and not any(unicodedata.category(one) in {"Cc", "Cs"} for one in path)
    )
    if not is_safe:
        raise PhotoRefused("unsafe-path", "A photo lies below its source: `ada/1.jpg`.")
    return path


def person_of(path: str) -> str:
    """The person whom `person/photo` names.

    Raises:
        PhotoRefused: unsafe-path, invalid-option
    """
    folder, _, photo = check_path(path).partition("/")
    if not photo or "/" in photo:
        raise PhotoRefused("unsafe-path", "A photo lies in its person's folder: `ada/1.jpg`.")
    return checked("person_id", folder)


def checked(name: str, given: str) -> str:
    """An identifier, by the rule of the HTTP routes.

    Raises:
        PhotoRefused: invalid-option
    """
    try:
        return checked_identifier(name, given)
    except InvalidOption as error:
        raise PhotoRefused(error.slug, str(error)) from error


def printable(name: str) -> str:
    """As a report can show it, whatever a stranger called the file."""
    shown = name[:MAX_PATH_CHARACTERS]
    return "".join(one if unicodedata.category(one) not in {"Cc", "Cs"} else "�" for one in shown)


def refusal(name: str, person_id: str, error: PhotoRefused) -> Refused:
    return Refused(printable(name), printable(person_id), error.slug, str(error))


def is_hidden(path: str) -> bool:
    """What systems leave behind beside photos: .DS_Store, ._1.jpg, Thumbs.db."""
    last = path.rstrip("/").rpartition("/")[2]
    return last.startswith(".") or last == "Thumbs.db"


def read_file(folder: Path, path: str, max_bytes: int) -> bytes:
    """The photo at `path` below `folder`, reached through no link.

    Raises:
        PhotoRefused: photo-missing, unreadable-entry, photo-too-large
    """
    try:
        descriptor = _open_below(folder, path)
    except OSError as error:
        raise PhotoRefused(
            "photo-missing",
            f"There is no such file that may be read; links are not followed: {error.strerror}.",
        ) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise PhotoRefused("unreadable-entry", "It is no file.")
    with os.fdopen(descriptor, "rb") as file:
        return read_at_most(file, found.st_size, max_bytes)


def read_at_most(file: IO[bytes], size: int, max_bytes: int) -> bytes:
    """All of it, where `size`, which it states, is accepted."""
    check_size(size, max_bytes)
    try:
        data = file.read(max_bytes + 1)  # it may have grown
    except OSError as error:
        raise PhotoRefused("unreadable-entry", f"It cannot be read: {error.strerror}.") from error
    check_size(len(data), max_bytes)
    return data


def check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PhotoRefused(
            "photo-too-large", f"The photo has {size} bytes; at most {max_bytes} are read."
        )


def listed_file(path: str, folder: Path, max_bytes: int) -> Listed | Refused:
    """The file `person/photo` below `folder`."""
    try:
        person_id = person_of(path)
    except PhotoRefused as error:
        return refusal(path, path.partition("/")[0], error)
    return Listed(path, person_id, None, None, lambda: read_file(folder, path, max_bytes))


def _open_below(folder: Path, path: str) -> int:
    """Step by step: the answer lies below `folder`, whoever renames what meanwhile."""
    *folders, file = path.split("/")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for one in folders:
        descriptor = _step(descriptor, one, os.O_DIRECTORY)
    return _step(descriptor, file, os.O_NONBLOCK)


def _step(descriptor: int, name: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=descriptor)
    finally:
        os.close(descriptor)
