"""Where a figure comes from: what every report says beside its numbers."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

UNKNOWN = "unknown"
GIT = shutil.which("git") or "git"


@dataclass(frozen=True)
class Provenance:
    """`command` as anyone can run it in the checkout; `commit` ends in "+" on a changed tree."""

    command: str
    commit: str
    data: str
    seed: int | None
    date: str
    machine: str


def provenance(data: str, seed: int | None = None) -> Provenance:
    """Of the process that is running now."""
    return Provenance(
        command=shlex.join([*_program(Path(sys.argv[0])), *sys.argv[1:]]),
        commit=current_commit(),
        data=data,
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
    )


def _program(started: Path) -> list[str]:
    """`python -m package` is told by the package, a console script by its name."""
    if started.name == "__main__.py":
        return ["python", "-m", started.parent.name]
    return [started.name]


def machine() -> str:
    """Processor, cores this process may use, operating system."""
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"


def current_commit() -> str:
    revision = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return revision + ("+" if changed not in ("", UNKNOWN) else "")


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - the arguments are written below
            (GIT, "-C", str(Path(__file__).parent), *arguments),
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or UNKNOWN
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else UNKNOWN
