"""Where an import's rows and photos come from: a port, the archive and the folder behind it.

A photo is named by the table, relative to the source. The name is compared, or walked down folder
by folder; it is no path that anything else is done with.
"""

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from gateway_server.imports.table import Record, read_table
from gateway_server.imports.zip_directory import Entry, Place, read_bytes, read_entries
from gateway_server.problems import (
    PhotoMissing,
    PhotoNotInImport,
    PhotoTooLarge,
    Problem,
    TooManyRows,
    UnreadableEntry,
    UnsafePath,
)

PIECE_BYTES: Final = 64 * 1024
MAX_PATH_CHARACTERS: Final = 1000
ENTRIES_PER_ROW: Final = 2  # an archive may hold more than its table names
_DRIVE = re.compile(r"[A-Za-z]:")
_NO_PHOTO_THERE = frozenset(
    getattr(errno, name)
    for name in ("ENOENT", "ENOTDIR", "ELOOP", "EISDIR", "ENXIO", "EACCES", "EPERM", "ENAMETOOLONG")
)


@dataclass(frozen=True)
class SourceRow:
    """A record of the table, and where its photo lies; None where that is known by its name."""

    record: Record
    place: Mapping[str, Any] | None
    problem: Problem | None


class Source(Protocol):
    def rows(self) -> Iterator[SourceRow]:
        """All of them in order, each time anew."""

    def photo(self, name: str, place: Mapping[str, Any] | None) -> Iterator[bytes]:
        """Raises a Refusal where the photo is at fault, OSError where the disk is."""


def check_name(name: str) -> str:
    """The photo's name in the table: relative, downwards, printable."""
    if not name:
        raise PhotoMissing("`photo` is blank")
    parts = name.split("/")
    is_safe = (
        len(name) <= MAX_PATH_CHARACTERS
        and "\\" not in name
        and not _DRIVE.match(name)
        and not any(part in {"", ".", ".."} for part in parts)
        and not any(unicodedata.category(one) in {"Cc", "Cs"} for one in name)
    )
    if not is_safe:
        raise UnsafePath("`photo` names a file below the source: `ada/1.jpg`")
    return name


class ArchiveSource:
    def __init__(self, table: Path, archive: Path, most_rows: int, max_photo_bytes: int) -> None:
        self._table = table
        self._archive = archive
        self._most_rows = most_rows
        self._max_photo_bytes = max_photo_bytes

    def rows(self) -> Iterator[SourceRow]:
        entries = self.entries()
        for record in read_table(self._table, self._most_rows):
            try:
                yield SourceRow(record, self._find(record, entries), record.problem)
            except Problem as problem:
                yield SourceRow(record, None, record.problem or problem)

    def entries(self) -> Mapping[str, Entry | None]:
        """By the composed form of their names; None for a name that two of them have."""
        found: dict[str, Entry | None] = {}
        for entry in read_entries(self._archive, ENTRIES_PER_ROW * self._most_rows):
            name = unicodedata.normalize("NFC", entry.name)
            found[name] = None if name in found else entry
        return found

    def _find(self, record: Record, entries: Mapping[str, Entry | None]) -> Mapping[str, Any]:
        name = unicodedata.normalize("NFC", check_name(record.texts.get("photo", "").strip()))
        if name not in entries:
            raise PhotoNotInImport("The archive has no entry of that name")
        entry = entries[name]
        if entry is None:
            raise UnreadableEntry("The archive has several entries of that name")
        if entry.fault is not None:
            raise UnreadableEntry(entry.fault)
        if entry.place.size > self._max_photo_bytes:
            raise PhotoTooLarge(f"A photo may have {self._max_photo_bytes} bytes")
        return entry.place.as_json()

    def photo(self, name: str, place: Mapping[str, Any] | None) -> Iterator[bytes]:
        if place is None:
            raise PhotoNotInImport(name)
        return read_bytes(self._archive, Place.from_json(dict(place)))


class FolderSource:
    """A folder of this host: with a table, or with a folder for each person."""

    def __init__(self, folder: Path, table: Path | None, most_rows: int) -> None:
        self._folder = folder
        self._table = table
        self._most_rows = most_rows

    def rows(self) -> Iterator[SourceRow]:
        for record in self._records():
            try:
                check_name(record.texts.get("photo", "").strip())
                yield SourceRow(record, None, record.problem)
            except Problem as problem:
                yield SourceRow(record, None, record.problem or problem)

    def _records(self) -> Iterator[Record]:
        if self._table is not None:
            yield from read_table(self._table, self._most_rows)
            return
        for number, (person, photo) in enumerate(self._photos_by_person(), start=1):
            if number > self._most_rows:
                raise TooManyRows(f"An import may have {self._most_rows} photos")
            yield Record(number, {"name": person, "photo": f"{person}/{photo}"})

    def _photos_by_person(self) -> Iterator[tuple[str, str]]:
        with os.scandir(self._folder) as found:
            persons = sorted(one.name for one in found if one.is_dir(follow_symlinks=False))
        for person in persons:
            if not person.startswith("."):
                names = sorted(os.listdir(self._folder / person))  # noqa: PTH208 - names alone
                yield from ((person, name) for name in names if not name.startswith("."))

    def photo(self, name: str, place: Mapping[str, Any] | None) -> Iterator[bytes]:  # noqa: ARG002
        descriptor = _open_below(self._folder, name)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise PhotoNotInImport("It is no file")
        with os.fdopen(descriptor, "rb") as file:
            yield from _pieces_of(file)


def _pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """A file that opens and cannot be read is at fault itself: no other row waits for it."""
    try:
        while piece := file.read(PIECE_BYTES):
            yield piece
    except OSError as error:
        raise UnreadableEntry(f"The file cannot be read: {error.strerror}") from error


def _open_below(folder: Path, name: str) -> int:
    """Step by step, and through no link: the answer lies below `folder`, whoever renames what."""
    *folders, file = name.split("/")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for one in folders:
            descriptor = _step(descriptor, one, os.O_DIRECTORY)
        return _step(descriptor, file, os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_PHOTO_THERE:
            raise PhotoNotInImport(
                "The folder has no such file that may be read; links are not followed"
            ) from error
        raise


def _step(descriptor: int, name: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=descriptor)
    finally:
        os.close(descriptor)
