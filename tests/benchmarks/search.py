"""Search in galleries of 1,000 to 1,000,000 faces: ours against float32 brute force, and memory.

Everything a worker does is in the time: asking the database for the gallery's version, the scan,
the exact comparison, the ranking of persons. Brute force is one float32 product with all vectors
in memory and the best five of it. Starts are those of new processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from generated_faces import STAMP, Population, enrol, face_id, person_id
from growth import Growth
from timing import Measured

from inference_server.gallery import ChangeLog, VectorIndex, Vectors
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.shelf import FolderShelf
from inference_server.gallery.store import SqlStore

DATA = "people made by tests/benchmarks/generated_faces.py"
SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1m": 1_000_000}
PROBES = 1000
BRUTE_FORCE_PROBES = 60
TOP_K = 5
PROBES_AT_ONCE = 50
FLOAT32_SLACK = 1e-5


def open_exact(log: ChangeLog, folder: Path) -> VectorIndex:
    return ExactIndex(log, STAMP, FolderShelf(folder))


WAYS: Mapping[str, Callable[[ChangeLog, Path], VectorIndex]] = {"": open_exact}
"""Infix of the figures' names -> index; another adapter of `VectorIndex` gets its line here."""


@dataclass(frozen=True)
class Measurement:
    """Of one gallery, all ways."""

    title: str
    values: Mapping[str, float]

    def figures(self) -> Mapping[str, float]:
        return {key: round(value, 4) for key, value in self.values.items()}

    def __str__(self) -> str:
        lines = [f"  {key:42} {value:12.3f}" for key, value in self.values.items()]
        return "\n".join([self.title, *lines])


def run(rounds: int) -> list[Measured]:
    """Every size, people and noise; then the growth. There are 1,000 probes, not `rounds`."""
    measured = [measure("people", name) for name in SIZES]
    measured += [measure("uniform", name) for name in ("100k", "1m")]
    values = {key: value for each in measured for key, value in each.values.items()}
    return [*measured, draw_growth(values)]


def measure(kind: str, size: str) -> Measurement:
    population = Population(kind, SIZES[size])
    prefix = f"search_{size}" if kind == "people" else f"search_{kind}_{size}"
    with tempfile.TemporaryDirectory() as folder:
        vectors = enrol(population, Path(folder) / "gallery.db")
        np.save(Path(folder) / "probes.npy", population.probes(PROBES))
        values: dict[str, float] = {}
        for way in WAYS:
            values |= in_new_process(way, Path(folder), f"{prefix}{way}", vectors)
        probes = np.load(Path(folder) / "probes.npy")
        values |= brute_force_times(vectors, probes, f"{prefix}_brute_force")
        print(f"{prefix}: done", flush=True)
    return Measurement(f"{kind}, {size} faces, top {TOP_K} persons, one core", values)


def in_new_process(way: str, folder: Path, prefix: str, vectors: Vectors) -> dict[str, float]:
    """Built from SQL by one process, then started from what it left by another."""
    built, started = (
        json.loads(
            subprocess.run(
                [sys.executable, __file__, way, str(folder)],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            ).stdout
        )
        for _ in range(2)
    )
    answers = started.pop("answers")
    started["identical"] = count_identical(answers, vectors, np.load(folder / "probes.npy"))
    started["build_s"] = built["start_s"]
    return {f"{prefix}_{key}": value for key, value in started.items()}


def serve_probes(way: str, folder: Path) -> dict[str, object]:
    """What one worker process measures of itself."""
    probes = np.load(folder / "probes.npy")
    before = resident_mb()
    started = time.perf_counter()
    index = WAYS[way](SqlStore(f"sqlite:///{folder}/gallery.db"), folder / f"index{way}")
    index.search("base", probes[0], TOP_K)
    start_s = time.perf_counter() - started
    times_ms, answers = [], []
    for probe in probes:
        began = time.perf_counter()
        found = index.search("base", probe, TOP_K)
        times_ms.append(1000 * (time.perf_counter() - began))
        answers.append([(hit.person_id, hit.face_id, hit.similarity) for hit in found.nearest])
    one = resident_mb()
    for probe in probes[:, ::-1]:
        index.search("heatmap", np.ascontiguousarray(probe), TOP_K)
    both = resident_mb()
    return {
        "p50_ms": float(np.median(times_ms)),
        "p99_ms": float(np.quantile(times_ms, 0.99)),
        "start_s": start_s,
        "rss_one_model_mb": one["VmRSS"] - before["VmRSS"],
        "rss_mb": both["VmRSS"] - before["VmRSS"],
        "rss_own_mb": both["RssAnon"] - before["RssAnon"],
        "answers": answers,
    }


def resident_mb() -> dict[str, float]:
    """VmRSS: all; RssAnon: this process's own; the rest is file pages, shared with all workers."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split()[:2] for line in lines if line.startswith(("VmRSS", "RssAnon")))
    return {name.rstrip(":"): int(kib) / 1024 for name, kib in pairs}


def brute_force_times(vectors: Vectors, probes: Vectors, prefix: str) -> dict[str, float]:
    times_ms = []
    for probe in probes[:BRUTE_FORCE_PROBES]:
        began = time.perf_counter()
        similarities = vectors @ probe
        np.argpartition(similarities, len(similarities) - TOP_K)[-TOP_K:]
        times_ms.append(1000 * (time.perf_counter() - began))
    return {
        f"{prefix}_p50_ms": float(np.median(times_ms)),
        f"{prefix}_p99_ms": float(np.quantile(times_ms, 0.99)),
    }


def count_identical(answers: list[list[list[object]]], vectors: Vectors, probes: Vectors) -> int:
    """Probes with the very persons, faces and similarities that comparing with all gives."""
    identical = 0
    for start in range(0, len(probes), PROBES_AT_ONCE):
        some = probes[start : start + PROBES_AT_ONCE]
        products = some @ vectors.T
        for row, (probe, similarities) in enumerate(zip(some, products, strict=True), start):
            identical += brute_force_answer(similarities, vectors, probe) == answers[row]
    return identical


def brute_force_answer(
    similarities: Vectors, vectors: Vectors, probe: Vectors
) -> list[list[object]]:
    """All rows near the best in float32; their sums again in float64, so that rounding is sound."""
    persons = max(len(vectors) // 4, 1)
    for count in (256, 4096, len(vectors)):
        best = np.argpartition(-similarities, min(count, len(vectors) - 1))[:count]
        best = best[np.argsort(-similarities[best])]
        owners, firsts = np.unique(best % persons, return_index=True)
        if len(owners) >= min(TOP_K, persons) or count >= len(vectors):
            break
    level = similarities[best[np.sort(firsts)[:TOP_K][-1]]] - FLOAT32_SLACK
    rows = np.flatnonzero(similarities >= level)
    exact = (vectors[rows].astype(np.float64) @ probe.astype(np.float64)).clip(-1, 1).round(6)
    ranked = sorted(
        (-similarity, person_id(row % persons), face_id(row))
        for row, similarity in zip(rows.tolist(), exact.tolist(), strict=True)
    )
    answer: dict[str, list[object]] = {}
    for distance, person, face in ranked:
        answer.setdefault(person, [person, face, -distance])
    return list(answer.values())[:TOP_K]


def draw_growth(values: Mapping[str, float]) -> Growth:
    ways = {
        "exact": "",
        **{way.strip("_"): way for way in WAYS if way},
        "brute_force": "_brute_force",
    }
    times = {
        label: [values[f"search_{size}{way}_p50_ms"] for size in SIZES]
        for label, way in ways.items()
    }
    sizes = list(SIZES.values())
    growth = Growth("search", "faces", "p50 of a search for 5 persons, ms, one core", sizes, times)
    growth.draw()
    return growth


if __name__ == "__main__":
    print(json.dumps(serve_probes(sys.argv[1], Path(sys.argv[2]))))
