"""`make bench`: times our way and another side by side, in one run; `embed` on one core.

    .venv/bin/python tests/benchmarks/run.py [embed | enrol]

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
from typing import Protocol

import embed
import enrol

from face_models.training.provenance import provenance

REPORTS_DIR = Path(__file__).parents[1] / "reports"
BENCHMARKS = {"embed": embed.run, "enrol": enrol.run}


class Figures(Protocol):
    """What a benchmark has measured; as text it is a table."""

    def figures(self) -> dict[str, float]: ...


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
    for name in [options.benchmark] if options.benchmark else sorted(BENCHMARKS):
        comparisons = BENCHMARKS[name](options.rounds)
        for comparison in comparisons:
            print(comparison, "\n")
        write(name, comparisons, options.json)


def pin_to_one_core() -> int:
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def write(name: str, comparisons: Sequence[Figures], path: Path) -> None:
    """One flat object: what this benchmark measured, and where that comes from, beside the rest.

    `embed` has the plain names for its origin; another one's carry its own.
    """
    figures = {key: value for one in comparisons for key, value in one.figures().items()}
    prefix = "" if name == "embed" else f"{name}_"
    source = asdict(provenance("the shipped demo people and weights"))
    origin = {f"{prefix}{key}": value for key, value in source.items()}
    known = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**known, **figures, **origin}, indent=2) + "\n")
    print(f"Written to {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
