"""One process at a time makes a file that several processes share."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(target: Path, patient: bool = True) -> Iterator[None]:
    """Holds `target`.lock, which a killed process lets go by itself.

    Raises:
        BlockingIOError: another process holds it, and the caller is not patient.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        yield
