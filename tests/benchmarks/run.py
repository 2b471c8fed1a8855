"""`make bench`: times our way and another side by side, in one run.

    .venv/bin/python tests/benchmarks/run.py [embed | enrol | http | search]

The machine may be noisy: the two take turns, and medians and their ratio are quoted.
"""

from __future__ import annotations

import argparse
import os

# One core means one thread everywhere: set before any numerical library starts its pool.
os.environ["OMP_NUM_THREADS"] = "1"

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import embed
import enrol
import over_http
import search
from timing import Measured

from face_models.training.provenance import provenance

REPORTS_DIR = Path(__file__).parents[1] / "reports"
BENCHMARKS = {"embed": embed, "enrol": enrol, "http": over_http, "search": search}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", nargs="?", choices=sorted(BENCHMARKS), help="default: all")
    parser.add_argument("--rounds", type=int, default=30, help="counted turns of each way")
    parser.add_argument("--json", type=Path, default=REPORTS_DIR / "bench.json")
    options = parser.parse_args()
    core = pin_to_one_core()
    print(
        f"Core {core} alone, {options.rounds} turns after a warm-up, where nothing else is said.\n"
    )
    chosen = [options.benchmark] if options.benchmark else sorted(BENCHMARKS)
    for name in chosen:
        measured = BENCHMARKS[name].run(options.rounds)
        for each in measured:
            print(each, "\n")
        write(name, measured, options.json)


def pin_to_one_core() -> int:
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def write(name: str, measured: Sequence[Measured], path: Path) -> None:
    """One flat object: the figures of this benchmark and where they come from; others' stay.

    `commit` and `date` are those of the latest run of any.
    """
    source = asdict(provenance(BENCHMARKS[name].DATA))
    kept = json.loads(path.read_text()) if path.exists() else {}
    figures = {key: value for each in measured for key, value in each.figures().items()}
    latest = {key: source[key] for key in ("commit", "date")}
    origin = {f"{name}_{key}": value for key, value in source.items()} | latest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**kept, **figures, **origin}, indent=2) + "\n")
    print(f"Written to {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
