"""One choice that was made: the ways that were tried, timed in turns, and what was kept."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from timing import take_turns

ROUNDS = 30
SEED = 1

Ways = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Way:
    name: str
    p50_ms: float
    ratio: float  # to the first way of its choice: what is kept
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """`verdict`: what is kept, and why."""

    title: str
    ways: tuple[Way, ...]
    verdict: str


def timed(title: str, ways: Ways, verdict: str, notes: Mapping[str, str] = {}) -> Choice:
    turns = take_turns(title, {name: (name, way) for name, way in ways.items()}, ROUNDS).times_ms
    kept = next(iter(turns.values()))
    measured = tuple(
        Way(name, median(times), median(b / a for a, b in zip(kept, times, strict=True)), note)
        for name, times in turns.items()
        for note in [notes.get(name, "")]
    )
    choice = Choice(title, measured, verdict)
    print(*table_of(choice), sep="\n", flush=True)
    return choice


def table_of(choice: Choice) -> list[str]:
    rows = [
        f"| {one.name} | {one.p50_ms:.2f} | {one.ratio:.2f} | {one.note} |" for one in choice.ways
    ]
    head = ["| way | ms | times as long | validation |", "|---|---|---|---|"]
    return [f"## {choice.title}", "", *head, *rows, "", choice.verdict]


def installed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        print(f"{module} is not installed: not compared.")
        return None
