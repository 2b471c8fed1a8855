"""A ZIP's directory, and the bytes of one entry: read by place, never extracted, never by name.

Read strictly (APPNOTE 4.3): what other programs would read in another way is refused. Stored and
deflated entries are understood, and ZIP64; encrypted ones, archives in parts, and entries that
share bytes are not.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from gateway_server.problems import BrokenArchive, TooManyEntries, UnreadableEntry

PIECE_BYTES: Final = 64 * 1024
MAX_RATIO: Final = 100
"""No photo is deflated to less: it is compressed already."""
RATIO_FREE_BYTES: Final = 64 * 1024
MAX_NAME_BYTES: Final = 1024
_STORED, _DEFLATED = 0, 8
_UNIX = 3
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_NAME_IS_UTF8 = 0x800
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT_BYTES = 0xFFFF
_IN_EXTRA_16, _IN_EXTRA = 0xFFFF, 0xFFFFFFFF
_EXTRA_64 = 1


@dataclass(frozen=True)
class Place:
    """Where an entry lies, and what its bytes shall be."""

    at: int
    packed: int
    size: int
    method: int
    crc: int

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> Self:
        return cls(**members)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Entry:
    name: str
    place: Place
    fault: str | None
    """Why it cannot be a photo."""


@dataclass(frozen=True)
class _Directory:
    entries: int
    at: int
    size: int


def read_entries(path: Path, most: int) -> Iterator[Entry]:
    """Every file of the archive in the order of its directory. Raises BrokenArchive."""
    with path.open("rb") as file:
        directory = _find_directory(file)
        if directory.entries > most:
            raise TooManyEntries(f"An archive may have {most} entries and has {directory.entries}")
        spans: list[tuple[int, int]] = []
        file.seek(directory.at)
        for _ in range(directory.entries):
            entry, end = _read_entry(file)
            spans.append((entry.place.at, end))
            if not entry.name.endswith("/"):
                yield entry
        if file.tell() != directory.at + directory.size:
            raise BrokenArchive("The directory is not as long as it says")
    _check_apart(spans, directory.at)


def read_bytes(path: Path, place: Place) -> Iterator[bytes]:
    """The entry's content, checked to its end. Raises UnreadableEntry and OSError."""
    with path.open("rb") as file:
        file.seek(place.at)
        head = file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
            raise UnreadableEntry("The archive has no entry where its directory says")
        *_, name_bytes, extra_bytes = _LOCAL.unpack(head)
        file.seek(name_bytes + extra_bytes, 1)
        yield from _checked(_inflated(file, place), place)


def _inflated(file: BinaryIO, place: Place) -> Iterator[bytes]:
    """Never more than a piece at a time, however much the packed bytes would become."""
    if place.method == _STORED:
        yield from _packed(file, place.packed)
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in _packed(file, place.packed):
            left = piece
            while left and not inflater.eof:
                yield inflater.decompress(left, PIECE_BYTES)
                left = inflater.unconsumed_tail
        while not inflater.eof and (rest := inflater.decompress(b"", PIECE_BYTES)):
            yield rest
    except zlib.error as error:
        raise UnreadableEntry("The entry's packed bytes are damaged") from error
    if not inflater.eof:
        raise UnreadableEntry("The entry's packed bytes end too early")


def _packed(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        if not piece:
            raise UnreadableEntry("The archive ends within the entry")
        left -= len(piece)
        yield piece


def _checked(pieces: Iterator[bytes], place: Place) -> Iterator[bytes]:
    size, crc = 0, 0
    for piece in pieces:
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        if size > place.size:
            raise UnreadableEntry(f"The entry has more than the {place.size} bytes that it states")
        yield piece
    if (size, crc) != (place.size, place.crc):
        raise UnreadableEntry("The entry's content is not what its checksum says")


def _find_directory(file: BinaryIO) -> _Directory:
    length = file.seek(0, 2)
    start = max(0, length - _END.size - _MAX_COMMENT_BYTES)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise BrokenArchive("It has no directory: it is no ZIP, or its end is missing")
    _, disk, first_disk, here, entries, size, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise BrokenArchive("Something follows the archive's end")
    end = start + at
    if entries == _IN_EXTRA_16 or _IN_EXTRA in (size, offset):
        found, end = _find_directory_64(file, end)
    else:
        _check_whole(disk, first_disk, here, entries)
        found = _Directory(entries, offset, size)
    if found.at + found.size > end:
        raise BrokenArchive("The directory reaches beyond its own end")
    return found


def _find_directory_64(file: BinaryIO, end: int) -> tuple[_Directory, int]:
    locator = _read_at(file, end - _LOCATOR.size, _LOCATOR)
    signature, disk, at, _disks = locator
    if signature != b"PK\6\7":
        raise BrokenArchive("The ZIP64 directory cannot be found")
    _check_whole(disk, 0, 0, 0)
    found = _read_at(file, at, _END_64)
    signature, _length, _, _, disk, first_disk, here, entries, size, offset = found
    if signature != b"PK\6\6":
        raise BrokenArchive("The ZIP64 directory cannot be found")
    _check_whole(disk, first_disk, here, entries)
    return _Directory(entries, offset, size), at


def _read_at(file: BinaryIO, at: int, shape: struct.Struct) -> tuple[Any, ...]:
    if at < 0:
        raise BrokenArchive("The archive is cut short")
    try:
        file.seek(at)
        return shape.unpack(file.read(shape.size))
    except (struct.error, OSError, OverflowError) as error:
        raise BrokenArchive("The archive is cut short") from error


def _check_whole(disk: int, first_disk: int, here: int, entries: int) -> None:
    if disk or first_disk or here != entries:
        raise BrokenArchive("It is one part of an archive in several parts")


def _read_entry(file: BinaryIO) -> tuple[Entry, int]:
    """The next entry of the directory, and the first byte that cannot be its own."""
    head = file.read(_ENTRY.size)
    if len(head) < _ENTRY.size or not head.startswith(b"PK\1\2"):
        raise BrokenArchive("The directory is damaged")
    (_, version, _, flags, method, _, _, crc, packed, size, *lengths) = _ENTRY.unpack(head)
    name_bytes, extra_bytes, comment_bytes, disk, _, attributes, at = lengths
    name, extra, comment = (file.read(n) for n in (name_bytes, extra_bytes, comment_bytes))
    if len(comment) < comment_bytes or len(extra) < extra_bytes:
        raise BrokenArchive("The directory is cut short")
    size, packed, at = _widened(extra, [size, packed, at])
    if disk:
        raise BrokenArchive("It is one part of an archive in several parts")
    place = Place(at, packed, size, method, crc)
    fault = _fault(place, flags, is_link=_is_link(version >> 8, attributes))
    return Entry(_name(name, flags), place, fault), at + _LOCAL.size + name_bytes + packed


def _widened(extra: bytes, sizes: list[int]) -> list[int]:
    """Those of the three that stand in the ZIP64 extra field, from there (4.5.3)."""
    if _IN_EXTRA not in sizes:
        return sizes
    values = _extra_64(extra)
    try:
        return [next(values) if one == _IN_EXTRA else one for one in sizes]
    except (StopIteration, RuntimeError) as error:
        raise BrokenArchive("A ZIP64 entry lacks its sizes") from error


def _extra_64(extra: bytes) -> Iterator[int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _EXTRA_64:
            whole = extra[at + 4 : at + 4 + length - length % 8]
            yield from (one for (one,) in struct.iter_unpack("<Q", whole[: len(whole) // 8 * 8]))
            return
        at += 4 + length


def _is_link(system: int, attributes: int) -> bool:
    return system == _UNIX and stat.S_ISLNK(attributes >> 16)


def _fault(place: Place, flags: int, *, is_link: bool) -> str | None:
    if flags & _ENCRYPTED:
        return "The entry is encrypted"
    if is_link:
        return "The entry is a link"
    if place.method not in {_STORED, _DEFLATED}:
        return f"The entry is packed by method {place.method}; stored and deflated ones are read"
    if place.method == _STORED and place.packed != place.size:
        return "The entry states two sizes"
    if place.size > MAX_RATIO * place.packed + RATIO_FREE_BYTES:
        return f"The entry would become more than {MAX_RATIO} times as large"
    return None


def _name(data: bytes, flags: int) -> str:
    """UTF-8 wherever it can be: some programs write it without saying so."""
    if len(data) > MAX_NAME_BYTES:
        return ""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "" if flags & _NAME_IS_UTF8 else data.decode("cp437")


def _check_apart(spans: list[tuple[int, int]], directory_at: int) -> None:
    """No byte belongs to two entries: many large ones are made of few bytes that way."""
    spans.sort()
    starts = [start for start, _ in spans[1:]] + [directory_at]
    if any(end > following for (_, end), following in zip(spans, starts, strict=False)):
        raise BrokenArchive("Entries of the archive overlap")
