"""Runs the drills, one after the other, and writes what came of each."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.house.tree import ROOT
from tests.system.drills import crashes, documented, hostility, imports, loads, outages
from tests.system.drills.estate import postgresql
from tests.system.drills.size import FULL, SMALL, Size

REPORT = ROOT / "tests" / "reports" / "drills.md"
Drill = Callable[[Path, Size], str]
MOST_TOLD = 600  # characters of what a drill failed for: one row of a table


@dataclass(frozen=True)
class Result:
    name: str
    passed: bool
    told: str
    seconds: float
    commit: str
    """When it began: what is edited meanwhile has no part in it."""


def _on_postgresql(drill: Callable[..., str], folder: Path, size: Size) -> str:
    url, redis_url = os.environ["TEST_POSTGRES_URL"], os.environ.get("TEST_REDIS_URL", "")
    with postgresql(url, redis_url) as stores:
        return drill(folder, size, stores)


DRILLS: Mapping[str, Drill] = {  # the short ones are run by tests/system/test_drills.py as well
    "inference-killed": crashes.inference_killed,
    "gateway-killed": crashes.gateway_killed,
    "gateway-killed-postgresql": partial(_on_postgresql, crashes.gateway_killed),
    "import-killed": imports.import_killed,
    "import-killed-postgresql": partial(_on_postgresql, imports.import_killed),
    "disk-full": outages.disk_full,
    "database-locked": outages.database_locked,
    "postgresql-away": partial(_on_postgresql, outages.postgresql_away),
    "redis-away": partial(_on_postgresql, outages.redis_away),
    "openapi": documented.openapi,
    "hostile-uploads": hostility.hostile_uploads,
    "saturation": loads.saturation,
    "steady-load": loads.steady,
    "two-gateways": partial(_on_postgresql, crashes.one_of_two_gateways_killed),
}
NEED_POSTGRESQL = {
    "gateway-killed-postgresql", "import-killed-postgresql", "two-gateways", "postgresql-away",
    "redis-away",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parse(arguments)
    if asked.list:
        print("\n".join(DRILLS))
        return 0
    size = SMALL if asked.small else FULL
    results = [_run(name, size) for name in asked.names or _possible()]
    if asked.report:
        _write(results, size, asked.report)
    failed = sum(not one.passed for one in results)
    print(f"drills: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.system.drills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of --list; all, if none")
    parser.add_argument("--list", action="store_true", help="name all drills")
    parser.add_argument("--small", action="store_true", help="few phones, short times")
    parser.add_argument("--report", type=Path, help=f"write Markdown and JSON, as {REPORT.name}")
    return parser.parse_args(arguments)


def _possible() -> list[str]:
    """Without those that need a PostgreSQL where none is named, and saying so."""
    if os.environ.get("TEST_POSTGRES_URL"):
        return list(DRILLS)
    print("TEST_POSTGRES_URL is not set: without " + ", ".join(sorted(NEED_POSTGRESQL)))
    return [name for name in DRILLS if name not in NEED_POSTGRESQL]


def _run(name: str, size: Size) -> Result:
    folder = Path(tempfile.mkdtemp(prefix=f"drill-{name}-"))
    commit = _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    started_s = time.monotonic()
    try:
        told, passed = DRILLS[name](folder / "house", size), True
    except Exception as error:  # noqa: BLE001 - a failed drill is a result; the others still run
        traceback.print_exc()
        told, passed = " ".join(f"{type(error).__name__}: {error}".split())[:MOST_TOLD], False
        print(f"what is left of it: {folder}")
    result = Result(name, passed, told, round(time.monotonic() - started_s, 1), commit)
    print(f"{'passed' if passed else 'FAILED'}  {name:28} {told}", flush=True)
    if passed:
        shutil.rmtree(folder)
    return result


def _write(results: Sequence[Result], size: Size, file: Path) -> None:
    """Drills of the same size that were held earlier stay in the report, with their commit."""
    made = {"date": datetime.now(UTC).isoformat(timespec="minutes")}
    document = file.with_suffix(".json")
    earlier = json.loads(document.read_text(encoding="utf-8")) if document.exists() else {}
    held = {
        one["name"]: one for one in earlier.get("drills", ()) if earlier["size"] == asdict(size)
    }
    held |= {one.name: {**asdict(one), **made} for one in results}
    told = {
        "command": "make drills REPORT=tests/reports/drills.md",
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "size": asdict(size),
        "drills": [held[name] for name in DRILLS if name in held],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    file.write_text(_page(told), encoding="utf-8")


def _page(told: Mapping[str, Any]) -> str:
    head = ["drill", "", "what came of it", "s", "commit", "date"]
    rows = [
        [
            one["name"],
            "passed" if one["passed"] else "FAILED",
            one["told"],
            f"{one['seconds']:g}",
            one["commit"],
            one["date"],
        ]
        for one in told["drills"]
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    return f"# Drills\n\n`{told['command']}`, {told['machine']}.\n\n{table}\n"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
