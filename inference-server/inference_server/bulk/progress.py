"""What a run tells while it goes, and the report of what was refused."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final, TextIO

from inference_server.bulk import Refused

BAR_CHARACTERS: Final = 30
BAR_EVERY_S: Final = 0.5
LINE_EVERY_S: Final = 30.0
REPORT_COLUMNS: Final = ("photo", "person_id", "type", "detail")
_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would compute what a text begins with: an apostrophe keeps it a text."""


class Report:
    """The refusals as CSV, each on the disk's way as soon as it is known; None keeps none."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("w", encoding="utf-8", newline="")
        self._write(REPORT_COLUMNS)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, refused: Refused) -> None:
        self._write((refused.name, refused.person_id, refused.slug, refused.detail))

    def _write(self, cells: tuple[str, ...]) -> None:
        if self._file is not None:
            csv.writer(self._file).writerow([_cell(cell) for cell in cells])
            self._file.flush()


class Progress:
    """Counts, and draws them: a bar where somebody looks on, a line now and then elsewhere.

    `faces_per_s` is that of the run so far, skipped and refused photos not counted; the time that
    is left is reckoned from all photos.
    """

    def __init__(
        self,
        total: int | None,
        report: Report,
        out: TextIO | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.faces = 0
        self.known_before = 0
        self.reasons: Counter[str] = Counter()
        self._total = total
        self._report = report
        self._out = out or sys.stderr
        self._clock = clock
        self._began = self._drawn = clock()
        self._lock = Lock()

    def enrolled(self, faces: int) -> None:
        with self._lock:
            self.faces += faces
            self._draw()

    def known(self, name: str) -> None:  # noqa: ARG002 - the port's
        with self._lock:
            self.known_before += 1
            self._draw()

    def refused(self, refused: Refused) -> None:
        with self._lock:
            self.reasons[refused.slug] += 1
            self._report.add(refused)
            self._draw()

    def summary(self) -> str:
        refused = ", ".join(f"{count} {slug}" for slug, count in sorted(self.reasons.items()))
        return (
            f"{self._done} photos: {self.faces} enrolled, {self.known_before} enrolled before, "
            f"{self.reasons.total()} refused{f' ({refused})' if refused else ''}; "
            f"{self.faces_per_s:.1f} faces/s"
        )

    def finish(self) -> None:
        if self._out.isatty():
            self._out.write("\n")

    @property
    def faces_per_s(self) -> float:
        return self.faces / max(self._clock() - self._began, 1e-9)

    @property
    def _done(self) -> int:
        return self.faces + self.known_before + self.reasons.total()

    def _draw(self) -> None:
        now, is_watched = self._clock(), self._out.isatty()
        if now - self._drawn < (BAR_EVERY_S if is_watched else LINE_EVERY_S):
            return
        self._drawn = now
        line = self.line()
        self._out.write(f"\r{line}\x1b[K" if is_watched else f"{line}\n")
        self._out.flush()

    def line(self) -> str:
        facts = (
            f"{self._done} of {self._total or '?'} photos, {self.reasons.total()} refused, "
            f"{self.faces_per_s:.1f} faces/s"
        )
        if not self._total:
            return facts
        share = min(self._done / self._total, 1)
        left_s = (self._clock() - self._began) * (1 - share) / max(share, 1e-9)
        bar = "#" * round(share * BAR_CHARACTERS)
        return f"[{bar:{BAR_CHARACTERS}}] {share:.0%} {facts}, {_time(left_s)} left"


def _time(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) else text
