"""Where photos lie: a port, and the folder behind it. A photo's name is made of its own content."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from gateway_server.problems import PhotoStoreUnavailable

_PRIVATE = 0o700
ABANDONED_AFTER_S = 3600  # since its last byte: far longer than an upload may pause
P = ParamSpec("P")
R = TypeVar("R")
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/heic": "heic"}


@dataclass(frozen=True)
class PhotoName:
    sha256: str
    media_type: str

    @property
    def path(self) -> Path:
        """`ab/cd/abcd….jpg`: nothing in it was chosen by a client."""
        first, second = self.sha256[:2], self.sha256[2:4]
        return Path(first, second, f"{self.sha256}.{EXTENSIONS[self.media_type]}")


class Spool:
    """A photo that is still arriving, under no name yet. `discard` leaves a saved one alone."""

    def __init__(self, folder: Path) -> None:
        try:
            descriptor, path = tempfile.mkstemp(prefix="arriving-", dir=folder)
        except OSError as error:
            raise _unavailable(error) from error
        self.path = Path(path)
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._file = os.fdopen(descriptor, "wb")

    def write(self, piece: bytes) -> None:
        try:
            self._file.write(piece)
        except OSError as error:
            raise _unavailable(error) from error
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def finish(self) -> str:
        """Bring every byte to the disk; the content's sha256 in hexadecimal."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise _unavailable(error) from error
        return self._hash.hexdigest()

    def discard(self) -> None:
        with suppress(OSError):  # a full disk: what could not be written is not wanted any more
            self._file.close()
        self.path.unlink(missing_ok=True)


class PhotoStore(Protocol):
    """Raises PhotoStoreUnavailable when the disk or the bucket behind it is away or full."""

    def spool(self) -> Spool: ...

    async def save(self, spool: Spool, name: PhotoName) -> None:
        """Give a finished spool its name, at once or not at all; again changes nothing."""

    async def open(self, name: PhotoName) -> bytes: ...

    async def delete(self, name: PhotoName) -> None:
        """Deleting a photo that is not there is no error."""


class PhotoFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spool_folder = folder / "arriving"

    def prepare(self) -> None:
        """Make the folders, readable to this user alone; half photos of a killed process go."""
        try:
            self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._spool_folder.mkdir(mode=_PRIVATE, exist_ok=True)
            self._sweep(time.time() - ABANDONED_AFTER_S)
        except OSError as error:
            raise _unavailable(error) from error

    def _sweep(self, before_s: float) -> None:
        """Another gateway's uploads may still be arriving: only old ones are nobody's."""
        for half in self._spool_folder.iterdir():
            with suppress(FileNotFoundError):
                if half.stat().st_mtime < before_s:
                    half.unlink()

    def spool(self) -> Spool:
        return Spool(self._spool_folder)

    async def save(self, spool: Spool, name: PhotoName) -> None:
        await _in_thread(_rename_durably, spool.path, self._folder / name.path)

    async def open(self, name: PhotoName) -> bytes:
        path = self._folder / name.path
        return await _in_thread(path.read_bytes)

    async def delete(self, name: PhotoName) -> None:
        path = self._folder / name.path
        await _in_thread(path.unlink, missing_ok=True)


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise _unavailable(error) from error


def _rename_durably(source: Path, target: Path) -> None:
    inner, outer, store = list(target.parents)[:3]
    outer.mkdir(mode=_PRIVATE, exist_ok=True)
    inner.mkdir(mode=_PRIVATE, exist_ok=True)
    source.replace(target)
    for folder in (inner, outer, store):  # each may have a new entry
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(error: OSError) -> PhotoStoreUnavailable:
    """Without the path: it would tell a client where things lie."""
    return PhotoStoreUnavailable(
        f"The photo store failed: {error.strerror or type(error).__name__}"
    )
