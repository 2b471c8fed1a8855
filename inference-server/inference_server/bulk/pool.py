"""An executor: a process for each core of this machine, one photo at a time in each.

Each process is an interpreter of its own, so that ONNX Runtime never crosses a fork and nothing of
the caller's is imported there. Each has a pipe of its own: when one dies, it is known over which
photo, and nobody else notices.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Self

from inference_server.bulk import Outcome, Photo, Refused, WorkersUnusable
from inference_server.bulk.worker import READY, LoadPipeline

ATTEMPTS: Final = 2
END_TIMEOUT_S: Final = 5


class ProcessPool:
    def __init__(self, load: LoadPipeline, processes: int) -> None:
        self._load = load
        self._workers = [_Worker(load) for _ in range(processes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()

    def run(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        turn = _Turn(iter(photos))
        while True:
            for worker in self._workers:
                if worker.is_idle and (photo := turn.next_photo()) is not None:
                    worker.give(photo)
            busy = {one.connection: one for one in self._workers if not one.is_idle}
            if turn.is_over and not any(one.photo for one in busy.values()):
                return
            for connection in wait(list(busy)):
                outcome = self._hear(busy[connection], turn)  # type: ignore[index]
                if outcome is not None:
                    yield outcome

    def _hear(self, worker: _Worker, turn: _Turn) -> Outcome | None:
        """What a worker has to say; None where that is not a photo's outcome yet."""
        try:
            return worker.take()
        except (EOFError, ConnectionError):
            exit_code = worker.end()
        if worker.photo is None:
            raise WorkersUnusable(f"A process ended with {exit_code} while it loaded the networks.")
        self._workers[self._workers.index(worker)] = _Worker(self._load)
        return turn.again_or_refused(worker.photo, exit_code)


class _Turn:
    """The photos of one run: those that have not come yet, and those that come again."""

    def __init__(self, photos: Iterator[Photo]) -> None:
        self._photos = photos
        self._again: deque[Photo] = deque()
        self._failed: dict[str, int] = {}  # by face_id; few photos ever do
        self._is_drained = False

    @property
    def is_over(self) -> bool:
        return self._is_drained and not self._again

    def next_photo(self) -> Photo | None:
        if self._again:
            return self._again.popleft()
        photo = None if self._is_drained else next(self._photos, None)
        self._is_drained = photo is None
        return photo

    def again_or_refused(self, photo: Photo, exit_code: int | None) -> Refused | None:
        attempts = self._failed[photo.face_id] = self._failed.get(photo.face_id, 0) + 1
        if attempts < ATTEMPTS:
            self._again.append(photo)
            return None
        told = f"The process that worked on it ended with {exit_code}, {attempts} times."
        return Refused(photo.name, photo.person_id, "internal-error", told)


class _Worker:
    """`photo` is what it works on; it is idle once it is ready and has none."""

    def __init__(self, load: LoadPipeline) -> None:
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        self.photo: Photo | None = None
        self._is_ready = False
        self._process = _start(theirs)
        theirs.close()  # so that its end is noticed here
        with suppress(ConnectionError):
            self.connection.send(load)

    @property
    def is_idle(self) -> bool:
        return self._is_ready and self.photo is None

    def give(self, photo: Photo) -> None:
        self.photo = photo
        with suppress(ConnectionError):  # it died idle: `take` will notice
            self.connection.send(photo)

    def take(self) -> Outcome | None:
        """Raises EOFError or ConnectionError where it died."""
        said = self.connection.recv()
        if said == READY:
            self._is_ready = True
            return None
        self.photo = None
        outcome: Outcome = said
        return outcome

    def end(self) -> int | None:
        """Its exit status, as Python tells it: negative for a signal."""
        self.connection.close()
        try:
            return self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _start(connection: Connection[Any, Any]) -> subprocess.Popen[bytes]:
    """It finds its modules where this process does."""
    descriptor = connection.fileno()
    return subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
        [sys.executable, "-m", "inference_server.bulk.worker", str(descriptor)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
    )
