"""Where photos lie: a port, and the folder behind it. A photo's name is made of its own content."""

import asyncio
import fcntl
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from gateway_server.problems import PhotoStoreUnavailable

_PRIVATE = 0o700
_ARRIVING = "arriving-"
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
    """A photo that is still arriving, under no name yet. `discard` leaves a saved one alone.

    Its file is locked as long as it is somebody's: the lock of a killed process is gone with it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            descriptor, path = tempfile.mkstemp(prefix=_ARRIVING, dir=folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _unavailable(error) from error
        self.path = Path(path)
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._file = os.fdopen(descriptor, "w+b")

    def write(self, piece: bytes) -> None:
        try:
            self._file.write(piece)
        except OSError as error:
            raise _unavailable(error) from error
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def read(self) -> bytes:
        """All that has arrived."""
        try:
            self._file.flush()
            return self.path.read_bytes()
        except OSError as error:
            raise _unavailable(error) from error

    def replace(self, content: bytes) -> None:
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise _unavailable(error) from error
        self._hash, self.size_bytes = hashlib.sha256(), 0
        self.write(content)

    def finish(self) -> str:
        """Nothing more comes; the content's sha256 in hexadecimal."""
        try:
            self._file.flush()
        except OSError as error:
            raise _unavailable(error) from error
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Bring every byte to the disk; once more costs nothing."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Let go of the file, and of its lock."""
        with suppress(OSError):  # a full disk: what could not be written is not wanted any more
            self._file.close()

    def discard(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


class PhotoStore(Protocol):
    """Raises PhotoStoreUnavailable when the disk or the bucket behind it is away or full."""

    def spool(self) -> Spool: ...

    async def save(self, spool: Spool, name: PhotoName) -> None:
        """Give a finished spool its name, at once or not at all; again changes nothing."""

    async def open(self, name: PhotoName) -> bytes: ...

    async def delete(self, name: PhotoName) -> None:
        """Deleting a photo that is not there is no error."""


class PhotoInventory(Protocol):
    """What lies there, held against the rows."""

    def files(self, older_than_s: float) -> AsyncIterator[Sequence[PhotoName]]:
        """Every photo whose last byte came before this moment of Unix time, some at a time."""

    async def missing(self, names: Sequence[PhotoName]) -> Sequence[PhotoName]:
        """Those that do not lie there."""


class PhotoShelf(PhotoStore, PhotoInventory, Protocol):
    """Both."""


class PhotoFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spool_folder = folder / "arriving"

    def prepare(self) -> None:
        """Make the folders, readable to this user alone; half photos of a killed process go."""
        try:
            self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._spool_folder.mkdir(mode=_PRIVATE, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise _unavailable(error) from error

    def _sweep(self) -> None:
        """Half photos that nobody holds: another gateway's uploads may still be arriving."""
        for half in self._spool_folder.glob(_ARRIVING + "*"):
            with suppress(FileNotFoundError, BlockingIOError), half.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                half.unlink()

    def spool(self) -> Spool:
        return Spool(self._spool_folder)

    async def save(self, spool: Spool, name: PhotoName) -> None:
        await _in_thread(_save_durably, spool, self._folder / name.path)
        spool.close()

    async def open(self, name: PhotoName) -> bytes:
        path = self._folder / name.path
        return await _in_thread(path.read_bytes)

    async def delete(self, name: PhotoName) -> None:
        path = self._folder / name.path
        await _in_thread(path.unlink, missing_ok=True)

    async def files(self, older_than_s: float) -> AsyncIterator[Sequence[PhotoName]]:
        for outer in await _in_thread(sorted, self._folder.glob("[0-9a-f]" * 2)):
            yield await _in_thread(_names_in, outer, older_than_s)

    async def missing(self, names: Sequence[PhotoName]) -> Sequence[PhotoName]:
        return await _in_thread(lambda: [n for n in names if not (self._folder / n.path).exists()])


def _names_in(outer: Path, older_than_s: float) -> Sequence[PhotoName]:
    """What is named as a photo of ours is; other files are nobody's business here."""
    types = {extension: media_type for media_type, extension in EXTENSIONS.items()}
    names = []
    for path in outer.glob("??/*.*"):
        name = PhotoName(path.stem, types.get(path.suffix[1:], ""))
        if name.media_type and name.path == path.relative_to(outer.parent):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than_s:
                    names.append(name)
    return names


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise _unavailable(error) from error


def _save_durably(spool: Spool, target: Path) -> None:
    spool.sync()
    inner, outer, store = list(target.parents)[:3]
    outer.mkdir(mode=_PRIVATE, exist_ok=True)
    inner.mkdir(mode=_PRIVATE, exist_ok=True)
    spool.path.replace(target)
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
