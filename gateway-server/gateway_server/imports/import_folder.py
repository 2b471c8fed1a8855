"""Where uploads lie until they are worked off: two files of a run's id, and nothing else.

A file belongs to whoever holds its lock, then to the unfinished run of its name; others are swept.
"""

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from gateway_server.photo_store import Spool
from gateway_server.problems import PhotoStoreUnavailable

_PRIVATE = 0o700


class ImportFolder:
    """Made with the first upload. Raises PhotoStoreUnavailable when the disk is away or full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def table(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.csv"

    def archive(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.zip"

    def spool(self) -> Spool:
        try:
            self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        except OSError as error:
            raise unavailable(error) from error
        return Spool(self._folder)

    async def keep(self, run_id: str, table: Spool, archive: Spool) -> None:
        """Give both finished files their names, durably; their locks stay until they are closed."""
        try:
            await asyncio.to_thread(self._rename, run_id, table, archive)
        except OSError as error:
            raise unavailable(error) from error

    def _rename(self, run_id: str, table: Spool, archive: Spool) -> None:
        table.path.replace(self.table(run_id))
        archive.path.replace(self.archive(run_id))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def discard(self, run_id: str) -> None:
        for path in (self.table(run_id), self.archive(run_id)):
            with suppress(OSError):  # the next sweep finds it
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def sweep(self, is_wanted: Callable[[str], Awaitable[bool]]) -> int:
        """Delete what nobody holds and no unfinished run needs; how many files."""
        swept = 0
        for path in sorted(self._folder.glob("*")):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not await is_wanted(path.stem):  # asked under the lock: its run is committed
                    path.unlink()
                    swept += 1
        return swept


def unavailable(error: OSError) -> PhotoStoreUnavailable:
    """Without the path: it would tell a client where things lie."""
    return PhotoStoreUnavailable(
        f"The import's files failed: {error.strerror or type(error).__name__}"
    )
