"""Artefacts by what they are made of: what is there is not made again, whatever was killed between.

Each is a folder named by its kind and a fingerprint of its ingredients, which stand beside it in
made_of.json. It is made in a folder of another name, where a killed maker finds its own traces, and
under a lock that dies with its process: several processes on one shelf share the work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from face_models.training.lock import locked
from face_models.training.provenance import current_commit

MADE_OF_FILE, COMMIT_FILE = "made_of.json", "commit.txt"
DIGITS = 12
VERSION = 1  # to be raised with a change of code that makes something else of the same ingredients


def listing(folder: Path, *patterns: str) -> str:
    """A fingerprint of the files that match: their paths in the folder, sizes and times."""
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    rows = [
        f"{file.relative_to(folder).as_posix()} {file.stat().st_size} {file.stat().st_mtime_ns}"
        for file in files
        if file.is_file()
    ]
    return _digest("\n".join(rows))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


class Busy(Exception):
    """Another process makes the artefact just now."""


@dataclass(frozen=True)
class Artefact:
    folder: Path
    fingerprint: str


@dataclass
class Shelf:
    """`patient`: wait for what another process makes; else raise Busy.

    `commits`: of the code that made what was taken.
    """

    folder: Path
    patient: bool = True
    commits: set[str] = field(default_factory=set)

    def take(
        self, name: str, made_of: Mapping[str, object], make: Callable[[Path], None]
    ) -> Artefact:
        """The artefact, made where it is not there yet; `make` fills a folder.

        Raises:
            Busy: another process makes it, and the shelf is not patient.
        """
        versioned = {**made_of, "version": VERSION}
        told = json.dumps(versioned, indent=1, sort_keys=True, ensure_ascii=False)
        fingerprint = _digest(told)
        final = self.folder / f"{name}-{fingerprint}"
        if not final.exists():
            with ExitStack() as held:
                try:
                    held.enter_context(locked(final, self.patient))
                except BlockingIOError as error:
                    raise Busy(final.name) from error
                _make(final, told, make)
        self.commits.add((final / COMMIT_FILE).read_text(encoding="utf-8"))
        return Artefact(final, fingerprint)


def _make(final: Path, told: str, make: Callable[[Path], None]) -> None:
    if final.exists():  # made while this process waited
        return
    partial = final.with_name(final.name + ".partial")
    partial.mkdir(exist_ok=True)
    (partial / MADE_OF_FILE).write_text(told, encoding="utf-8")
    make(partial)
    (partial / COMMIT_FILE).write_text(current_commit(), encoding="utf-8")
    partial.rename(final)
