"""Where an index keeps its base: in a folder that all workers of a host share, or in memory."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

from inference_server.gallery import FaceBatch, ModelStamp, Moment
from inference_server.gallery.segment import Layout, Segment, empty_segment, segment_in_memory
from inference_server.gallery.snapshot import (
    OWNER_ONLY,
    ShelfUnusable,
    SnapshotRefused,
    read_snapshot,
    write_snapshot,
)

SNAPSHOT: Final = "faces.snapshot"
PARTIAL: Final = "faces.partial"
LOCK: Final = "faces.lock"
OWNERS_FOLDER: Final = 0o700

log = logging.getLogger(__name__)


class Shelf(Protocol):
    """Keeps one base. Who puts one there holds the shelf alone, over all processes."""

    def held(self, *, wait: bool) -> AbstractContextManager[bool]:
        """Whether this caller is alone now; always, if it waits."""
        ...

    def fetch(self, stamp: ModelStamp) -> tuple[Segment, Moment] | None:
        """The base that lies there, unless it is the latest that was fetched or put."""
        ...

    def put(
        self, stamp: ModelStamp, moment: Moment, count: int, batches: Iterator[FaceBatch]
    ) -> Segment:
        """In the place of what lay there; `count` faces come, perhaps none.

        Raises:
            ShelfUnusable
        """
        ...

    def keeps_only(self, segment: Segment) -> bool:
        """Whether nobody else's faces lie there."""
        ...

    def discard(self) -> None:
        """What lies there, whoever put it there; an index that still uses it is not disturbed."""
        ...


class MemoryShelf:
    """Every process for itself: what it holds is read from SQL at its start."""

    def held(self, *, wait: bool) -> AbstractContextManager[bool]:  # noqa: ARG002
        return nullcontext(True)

    def fetch(self, stamp: ModelStamp) -> tuple[Segment, Moment] | None:  # noqa: ARG002
        return None

    def put(
        self,
        stamp: ModelStamp,  # noqa: ARG002
        moment: Moment,  # noqa: ARG002
        count: int,
        batches: Iterator[FaceBatch],
    ) -> Segment:
        if not count:
            return empty_segment()
        layout, batches = _laid_out(count, batches)
        return segment_in_memory(layout, batches)

    def keeps_only(self, segment: Segment) -> bool:  # noqa: ARG002
        return True

    def discard(self) -> None:
        """Nothing lies anywhere."""


class FolderShelf:
    """A snapshot file, replaced as a whole; files are for this user alone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SNAPSHOT
        self._partial = folder / PARTIAL
        self._lock = folder / LOCK
        self._latest: tuple[int, Segment] | None = None  # and its file's inode

    @contextmanager
    def held(self, *, wait: bool) -> Iterator[bool]:
        with _folder_used():
            self._lock.parent.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
        try:
            with _folder_used():
                alone = _locked(lock, wait=wait)
            yield alone
        finally:
            os.close(lock)

    def fetch(self, stamp: ModelStamp) -> tuple[Segment, Moment] | None:
        if self._latest is not None and self._inode() == self._latest[0]:
            return None
        try:
            snapshot = read_snapshot(self._path, stamp)
        except FileNotFoundError:
            return None
        except (SnapshotRefused, OSError) as refusal:
            log.warning("the snapshot of the index is of no use: %s", refusal)
            return None
        self._latest = snapshot.inode, snapshot.segment
        return snapshot.segment, snapshot.moment

    def put(
        self, stamp: ModelStamp, moment: Moment, count: int, batches: Iterator[FaceBatch]
    ) -> Segment:
        """The old snapshot goes even if the new one fails: it may hold people who were removed."""
        try:
            with _folder_used():
                self._partial.unlink(missing_ok=True)
                return self._replaced(stamp, moment, count, batches)
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            self._partial.unlink(missing_ok=True)

    def keeps_only(self, segment: Segment) -> bool:
        inode = self._inode()
        if self._partial.exists() or inode is None:
            return inode is None and segment.count == 0 and not self._partial.exists()
        return self._latest == (inode, segment)

    def discard(self) -> None:
        for file in (self._path, self._partial):
            file.unlink(missing_ok=True)

    def _replaced(
        self, stamp: ModelStamp, moment: Moment, count: int, batches: Iterator[FaceBatch]
    ) -> Segment:
        if not count:
            self._path.unlink(missing_ok=True)
            self._latest = None  # nor is it kept open
            return empty_segment()
        layout, batches = _laid_out(count, batches)
        write_snapshot(self._partial, stamp, moment, layout, batches)
        self._partial.replace(self._path)
        _flush_folder(self._path.parent)
        snapshot = read_snapshot(self._path, stamp)
        self._latest = snapshot.inode, snapshot.segment
        return snapshot.segment

    def _inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None


def _laid_out(count: int, batches: Iterator[FaceBatch]) -> tuple[Layout, Iterator[FaceBatch]]:
    """The first vectors tell all lengths."""
    first = next(batch for batch in batches if len(batch.face_ids))
    dimensions = {model: vectors.shape[1] for model, vectors in first.vectors.items()}
    return Layout(count, dimensions), chain([first], batches)


@contextmanager
def _folder_used() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ShelfUnusable(f"The index's folder cannot be used: {error}") from error


def _locked(lock: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flush_folder(folder: Path) -> None:
    """The new name survives a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
