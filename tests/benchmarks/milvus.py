"""Exact search in process against Milvus Lite, on the same faces: time, memory, and agreement.

    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/milvus.py

Milvus Lite stands for the adapter and not for a cluster: it is Milvus' protocol in one Python
process, and reads every vector of a FLAT index. A cluster is measured where there is one, with the
same function and its address. Every size has a process of its own, so that memory is its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import insert, update
from timing import Comparison, take_turns

from face_models.training.provenance import provenance
from inference_server.gallery import MODELS, ModelStamp, VectorIndex, Vectors
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.ledger import SqlLedger
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import KINDS
from inference_server.gallery.news import draw_mark
from inference_server.gallery.store import SqlStore
from inference_server.gallery.tables import change, face, gallery, person

REPORT = Path(__file__).parents[1] / "reports" / "milvus.json"
SIZES = (1_000, 10_000, 100_000)
FACES_PER_PERSON = 4
DIMENSIONS = 128
PROBES = 16
TOP_K = 5
SEED = 20260101
STAMP = ModelStamp("b" * 64, "h" * 64)
MODEL = "heatmap"
ROWS_AT_ONCE = 10_000
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """`build_s`: of Milvus from SQL; `milvus_mib`, `exact_mib`: what resident memory grew by."""

    faces: int
    exact_p50_ms: float
    milvus_p50_ms: float
    build_s: float
    exact_mib: float
    milvus_mib: float
    top_5_agreement: float
    similarities_apart: float

    def __str__(self) -> str:
        return (
            f"{self.faces:9,} faces: exact {self.exact_p50_ms:.2f} ms, {self.exact_mib:.0f} MiB; "
            f"Milvus {self.milvus_p50_ms:.2f} ms, {self.milvus_mib:.0f} MiB, built in "
            f"{self.build_s:.1f} s; top-5 agreement {100 * self.top_5_agreement:.1f} %, "
            f"similarities at most {self.similarities_apart:.1e} apart"
        )


def measure(
    vectors: Vectors,
    persons: Sequence[str],
    probes: Vectors,
    rounds: int,
    url: str | None = None,
    kind: str = "FLAT",
) -> tuple[Measured, Comparison]:
    """`persons[i]` is whose face `vectors[i]` is; `url`: of a cluster, in Milvus Lite's place."""
    with TemporaryDirectory() as folder, opened_store(Path(folder), vectors, persons) as store:
        exact = ExactIndex(store, STAMP)
        exact_mib = grown_mib(exact.counts)
        connection = MilvusConnection(url or str(Path(folder) / "index.db"))
        faces = MilvusFaces(connection, STAMP, KINDS[kind])
        milvus = MilvusIndex(SqlLedger(store), STAMP, faces)
        started = time.perf_counter()
        milvus_mib = grown_mib(milvus.counts)
        build_s = time.perf_counter() - started
        comparison = compare(exact, milvus, probes, rounds, len(vectors))
        agreement, apart = compare_answers(exact, milvus, probes)
        faces.drop()
        connection.close()
    exact_ms, milvus_ms = (median(times) for times in comparison.times_ms.values())
    measured = Measured(
        len(vectors), exact_ms, milvus_ms, build_s, exact_mib, milvus_mib, agreement, apart
    )
    return measured, comparison


def compare(
    exact: VectorIndex, milvus: VectorIndex, probes: Vectors, rounds: int, faces: int
) -> Comparison:
    turns: Mapping[str, Iterator[int]] = {"exact": endless(probes), "milvus": endless(probes)}

    def searched(name: str, index: VectorIndex) -> object:
        return index.search(MODEL, probes[next(turns[name])], TOP_K)

    size = f"{faces // 1000}k"
    return take_turns(
        f"A search among {faces:,} faces",
        {
            f"search_{size}_exact_p50_ms": ("in process, exact", lambda: searched("exact", exact)),
            f"search_{size}_milvus_p50_ms": ("Milvus", lambda: searched("milvus", milvus)),
        },
        rounds,
    )


def endless(probes: Vectors) -> Iterator[int]:
    while True:
        yield from range(len(probes))


def compare_answers(
    exact: VectorIndex, milvus: VectorIndex, probes: Vectors
) -> tuple[float, float]:
    """Share of the exact answers' faces that Milvus answers in the same place, and a distance.

    It is how far the two similarities of a face are apart at most; each has six decimals.
    """
    pairs = [
        pair
        for probe in probes
        for pair in zip(
            exact.search(MODEL, probe, TOP_K).nearest,
            milvus.search(MODEL, probe, TOP_K).nearest,
            strict=True,
        )
    ]
    same = [(wanted, found) for wanted, found in pairs if wanted.face_id == found.face_id]
    apart = [abs(wanted.similarity - found.similarity) for wanted, found in same]
    return len(same) / len(pairs), max(apart, default=0.0)


@contextmanager
def opened_store(folder: Path, vectors: Vectors, persons: Sequence[str]) -> Iterator[SqlStore]:
    """A gallery of these faces, a version each; both models have the same vectors."""
    store = SqlStore(f"sqlite:///{folder}/gallery.db")
    with store.writing() as connection:
        connection.execute(insert(person), [{"person_id": one} for one in dict.fromkeys(persons)])
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            numbers = range(start, min(start + ROWS_AT_ONCE, len(vectors)))
            connection.execute(insert(face), [row(n, persons[n], vectors[n]) for n in numbers])
        connection.execute(update(gallery).values(version=len(vectors)))
        connection.execute(insert(change).values(version=len(vectors), mark=draw_mark()))
    try:
        yield store
    finally:
        store.close()


def row(number: int, person_id: str, vector: Vectors) -> dict[str, object]:
    return {
        "face_id": f"f{number:09}",
        "person_id": person_id,
        "version": number + 1,
        **dict.fromkeys(MODELS, vector.astype("<f4").tobytes()),
        "base_sha256": STAMP.base,
        "heatmap_sha256": STAMP.heatmap,
        "photo_sha256": "p" * 64,
        "face_index": 0,
        "box": "[0, 0, 1, 1]",
        "quality": 50,
        "warnings": "[]",
        "created_at": "2026-01-01T00:00:00+00:00",
    }


def grown_mib(work: Callable[[], object]) -> float:
    """Of this process' resident memory, while `work` is done."""
    before = resident_bytes()
    work()
    return (resident_bytes() - before) / MIB


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def random_faces(count: int) -> tuple[Vectors, list[str], Vectors]:
    """Unit vectors about a centre per person, whose they are, and probes of the first persons."""
    rng = np.random.default_rng(SEED)
    owners = np.arange(count) // FACES_PER_PERSON
    centres = unit(rng.normal(size=(owners[-1] + 1, DIMENSIONS)))
    vectors = unit(centres[owners] + unit(rng.normal(size=(count, DIMENSIONS))))
    probes = unit(centres[:PROBES] + unit(rng.normal(size=(PROBES, DIMENSIONS))))
    return vectors, [f"p{owner:09}" for owner in owners], probes


def unit(rows: np.ndarray) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def measure_random_faces(count: int, rounds: int) -> tuple[Measured, Comparison]:
    """With the libraries in memory before anything is measured."""
    importlib.import_module("pymilvus")
    importlib.import_module("milvus_lite.adapter.grpc.server")
    return measure(*random_faces(count), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="counted turns of each way")
    parser.add_argument("--json", type=Path, default=REPORT)
    options = parser.parse_args()
    sizes = []
    for size in SIZES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            measured, comparison = fresh.submit(measure_random_faces, size, options.rounds).result()
        print(measured, comparison, sep="\n")
        sizes.append(asdict(measured))
    origin = asdict(provenance("random unit vectors about a centre per person", SEED))
    options.json.write_text(json.dumps({"sizes": sizes, **origin}, indent=2) + "\n")


if __name__ == "__main__":
    main()
