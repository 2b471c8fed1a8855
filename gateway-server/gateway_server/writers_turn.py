"""One writer of an SQLite file at a time, in order, over all processes of this machine.

SQLite lets those who wait for its lock knock again after naps, whoever comes luckiest; a turn wakes
the next at once. It is courtesy alone: what guards the file is SQLite's own lock.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

SUFFIX = "-turn"  # beside the database's own -wal and -shm


class WritersTurn:
    def __init__(self, database: Path | None, within_s: float) -> None:
        """`database`: None where no other process can know it."""
        self._file = None if database is None else database.with_name(database.name + SUFFIX)
        self._within_s = within_s
        self._here = asyncio.Lock()
        self._descriptor: int | None = None

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Raises TimeoutError. Where the file cannot be used, only this process queues up."""
        async with asyncio.timeout(self._within_s):
            await self._here.acquire()
        try:
            async with asyncio.timeout(self._within_s):
                with suppress(OSError):
                    await self._lock_file()
            yield
        finally:
            self._unlock_file()
            self._here.release()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _lock_file(self) -> None:
        if self._file is None:
            return
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await self._wait_for_file(self._descriptor)

    async def _wait_for_file(self, descriptor: int) -> None:
        """A thread that waits cannot be called back: who gives up returns what it still gets."""
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, fcntl.flock, descriptor, fcntl.LOCK_EX)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            waiting.add_done_callback(lambda _: self._unlock_file())
            raise

    def _unlock_file(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
