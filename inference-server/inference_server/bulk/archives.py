"""A folder of folders in one file, ZIP or TAR: read in place, entry by entry, never extracted.

No archive can make more of itself than it is: a photo is compressed already, so whatever would
become more than MAX_RATIO times as large is a bomb. Links, devices, sparse and encrypted entries
are refused one by one; an archive that lies about itself is refused as a whole.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from inference_server.bulk import Listed, PhotoRefused, Refused, SourceUnusable
from inference_server.bulk.photo_files import (
    check_size,
    is_hidden,
    person_of,
    read_at_most,
    refusal,
)

MAX_RATIO: Final = 100
RATIO_FREE_BYTES: Final = 1024 * 1024
MAX_ENTRIES: Final = 1_000_000  # of a ZIP: its directory is read as a whole
MAX_HEADER_BYTES: Final = 1024 * 1024  # of one TAR entry, with all that extends its header
_BLOCK_BYTES: Final = 512
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_UNIX: Final = 3
_LOCAL_HEADER_BYTES: Final = 30
_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_DAMAGE: Final = (EOFError, OSError, ValueError, lzma.LZMAError, tarfile.TarError, zlib.error)


class ZipSource:
    def __init__(self, path: Path, max_photo_bytes: int) -> None:
        self._path = path
        self._max_photo_bytes = max_photo_bytes

    def count(self) -> int:
        with self._open() as archive:
            return len(_files(archive))

    def photos(self) -> Iterator[Listed | Refused]:
        archive = self._open()  # closed with the last photo that is still to be read from it
        _check_apart(archive)
        for entry in _files(archive):
            yield self._listed(archive, entry)

    def _open(self) -> zipfile.ZipFile:
        try:
            archive = zipfile.ZipFile(self._path)
        except (zipfile.BadZipFile, NotImplementedError, *_DAMAGE) as error:
            raise SourceUnusable(f"{self._path} is no sound ZIP: {error}.") from error
        if len(archive.infolist()) > MAX_ENTRIES:
            raise SourceUnusable(f"{self._path} has more than {MAX_ENTRIES} entries; pack a TAR.")
        return archive

    def _listed(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Listed | Refused:
        name = _shortened(entry.filename)
        try:
            person_id = person_of(name)
            _check_entry(_zip_fault(entry), entry.file_size, self._max_photo_bytes)
        except PhotoRefused as error:
            return refusal(name, name.partition("/")[0], error)
        return Listed(name, person_id, None, None, lambda: self._read(archive, entry))

    def _read(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        try:
            with archive.open(entry) as file:
                return read_at_most(file, entry.file_size, self._max_photo_bytes)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *_DAMAGE) as error:
            raise PhotoRefused("unreadable-entry", f"The entry is damaged: {error}.") from error


class TarSource:
    """One pass over the file, compressed (gzip, bzip2, xz) or not."""

    def __init__(self, path: Path, max_photo_bytes: int) -> None:
        self._path = path
        self._max_photo_bytes = max_photo_bytes

    def count(self) -> None:
        return None

    def photos(self) -> Iterator[Listed | Refused]:
        with self._path.open("rb") as packed:
            stream = _Metered(packed)
            try:
                with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                    yield from self._entries(archive, stream)
            except _DAMAGE as error:
                raise SourceUnusable(f"{self._path} is no sound archive: {error}.") from error

    def _entries(self, archive: tarfile.TarFile, stream: _Metered) -> Iterator[Listed | Refused]:
        end_of_last = 0
        while True:
            stream.allowed_bytes = end_of_last + MAX_HEADER_BYTES
            entry = archive.next()
            if entry is None:
                return
            archive.members = []  # type: ignore[attr-defined]  # it would remember every one
            end_of_last = entry.offset_data + _padded(entry.size)
            stream.allowed_bytes = end_of_last
            if not entry.isdir() and not is_hidden(entry.name):
                yield self._listed(archive, entry)

    def _listed(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Listed | Refused:
        name = _shortened(entry.name)
        try:
            person_id = person_of(name)
            _check_entry(_tar_fault(entry), entry.size, self._max_photo_bytes)
        except PhotoRefused as error:
            return refusal(name, name.partition("/")[0], error)
        file = archive.extractfile(entry)
        data = b"" if file is None else file.read()
        return Listed(name, person_id, None, None, lambda: data)


class _Metered:
    """The unpacked stream; more than `allowed_bytes`, or than MAX_RATIO allows, ends it."""

    def __init__(self, packed: IO[bytes]) -> None:
        self.allowed_bytes = MAX_HEADER_BYTES
        self._packed = packed
        self._stream = _unpacked(packed)
        self._read_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._read_bytes += len(data)
        if self._read_bytes > MAX_RATIO * self._packed.tell() + RATIO_FREE_BYTES:
            raise tarfile.ReadError(f"it would become more than {MAX_RATIO} times as large")
        if self._read_bytes > self.allowed_bytes + tarfile.RECORDSIZE:
            raise tarfile.ReadError(f"a header has more than {MAX_HEADER_BYTES} bytes")
        return data


def _unpacked(packed: IO[bytes]) -> IO[bytes]:
    start = packed.read(6)
    packed.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if start == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(packed)
    return packed


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _shortened(name: str) -> str:
    """`tar -C folder -c .` names what it packs `./ada/1.jpg`."""
    return name.removeprefix("./")


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [one for one in archive.infolist() if not one.is_dir() and not is_hidden(one.filename)]


def _check_entry(fault: str | None, size: int, max_bytes: int) -> None:
    if fault is not None:
        raise PhotoRefused("unreadable-entry", fault)
    check_size(size, max_bytes)


def _tar_fault(entry: tarfile.TarInfo) -> str | None:
    if not entry.isreg() or entry.issparse():
        return "The entry is a link or no plain file."
    return None


def _zip_fault(entry: zipfile.ZipInfo) -> str | None:
    mode = entry.external_attr >> 16
    if entry.flag_bits & _ENCRYPTED:
        return "The entry is encrypted."
    if entry.create_system == _UNIX and stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return "The entry is a link or no plain file."
    if entry.compress_type not in _METHODS:
        return f"The entry is packed by method {entry.compress_type}."
    if entry.file_size > MAX_RATIO * entry.compress_size + RATIO_FREE_BYTES:
        return f"The entry would become more than {MAX_RATIO} times as large."
    return None


def _check_apart(archive: zipfile.ZipFile) -> None:
    """No byte belongs to two entries: many large ones are made of few bytes that way."""
    spans = sorted(
        (one.header_offset, one.header_offset + _LOCAL_HEADER_BYTES + one.compress_size)
        for one in archive.infolist()
    )
    starts = [start for start, _ in spans[1:]] + [archive.start_dir]
    if any(end > following for (_, end), following in zip(spans, starts, strict=True)):
        raise SourceUnusable("Entries of the archive overlap.")
