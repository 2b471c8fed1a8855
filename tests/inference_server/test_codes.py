"""Search by 4-bit codes: the answer is that of brute force, whatever the vectors are like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from inference_server.gallery import MODELS, Counts, Vectors
from inference_server.gallery import ranking as ranking_module
from inference_server.gallery import segment as segment_module
from inference_server.gallery.codes import CodeScan, Grid, outliers_of
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.scan import FloatScan
from tests.inference_server.references import STAMP, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog, brute_force

FACES = 1500
SHORT_TAIL = 20


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and several rounds of a search already for a thousand faces."""
    monkeypatch.setattr(segment_module, "CODES_FROM", 100)
    monkeypatch.setattr(ranking_module, "FIRST_REACH", 32)
    monkeypatch.setattr(ranking_module, "FIRST_ROWS", 8)


def normalised(vectors: Vectors) -> Vectors:
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows.astype(np.float32)


def near_duplicates() -> Vectors:
    noise = 1e-4 * np.random.default_rng(1).normal(size=(FACES, 128))
    return normalised(unit_vectors(1, seed=2) + noise)


def almost_equal_lengths() -> Vectors:
    lengths = 1 + 1e-6 * np.random.default_rng(3).integers(-3, 4, size=(FACES, 1))
    return (np.repeat(unit_vectors(1, seed=4), FACES, axis=0) * lengths).astype(np.float32)


def all_equal() -> Vectors:
    return np.repeat(unit_vectors(1, seed=5), FACES, axis=0)


def few_distinct() -> Vectors:
    return unit_vectors(7, seed=6)[np.arange(FACES) % 7]


def single_coordinates() -> Vectors:
    rows: Vectors = np.eye(128, dtype=np.float32)[np.arange(FACES) % 128]
    return rows * np.where(np.arange(FACES) % 3, 1, -1).astype(np.float32)[:, None]


def far_from_the_first() -> Vectors:
    """The grid is fitted to what says nothing about the rest."""
    first = normalised(unit_vectors(1, seed=7) + 1e-3 * unit_vectors(1000, seed=8))
    return np.concatenate([first, -unit_vectors(FACES - 1000, seed=9)])


GALLERIES: dict[str, Callable[[], Vectors]] = {
    "noise": lambda: unit_vectors(FACES, seed=10),
    "near-duplicates": near_duplicates,
    "almost-equal-lengths": almost_equal_lengths,
    "all-equal": all_equal,
    "few-distinct": few_distinct,
    "single-coordinates": single_coordinates,
    "far-from-the-first": far_from_the_first,
    "two-dimensions": lambda: unit_vectors(FACES, seed=11, dimensions=2),
    "odd-length": lambda: unit_vectors(FACES, seed=11, dimensions=7),
    "descriptors": lambda: unit_vectors(200, seed=12, dimensions=16_384),
}
OWNERS: dict[str, Callable[[int], str]] = {
    "each-their-own": lambda row: f"p{row:05}",
    "many-faces-each": lambda row: f"p{row % 40:05}",
    "one-with-nearly-all": lambda row: "crowd" if row % 100 else f"p{row:05}",
}


def enrolled(vectors: Vectors, owner: Callable[[int], str]) -> ScriptedLog:
    log = ScriptedLog()
    log.enrol_all([owner(row) for row in range(len(vectors))], vectors)
    return log


def probes_for(vectors: Vectors) -> Vectors:
    length = vectors.shape[1]
    return np.concatenate(
        [vectors[[0, -1]], -vectors[:1], unit_vectors(3, seed=13, dimensions=length)]
    )


@pytest.mark.parametrize("owners", OWNERS)
@pytest.mark.parametrize("gallery", GALLERIES)
def test_the_answer_is_that_of_brute_force(gallery: str, owners: str):
    vectors = GALLERIES[gallery]()
    log = enrolled(vectors, OWNERS[owners])
    index = ExactIndex(log, STAMP, longest_tail=SHORT_TAIL)
    for probe in probes_for(vectors):
        for top_k in (1, 5, 50, 5000):
            found = index.search("heatmap", probe, top_k).nearest
            assert list(found) == brute_force(log, probe, top_k)
    assert index._latest.base.segment.count == len(vectors)


@pytest.mark.parametrize("gallery", ["noise", "few-distinct", "near-duplicates"])
def test_the_answer_stays_that_of_brute_force_while_faces_come_and_go(gallery: str):
    rng = np.random.default_rng(14)
    vectors = GALLERIES[gallery]()
    log = enrolled(vectors, OWNERS["many-faces-each"])
    index = ExactIndex(log, STAMP, longest_tail=SHORT_TAIL)
    newer = unit_vectors(60, seed=15)
    for number in range(60):
        log.enrol(f"p{rng.integers(50):05}", f"new{number}", newer[number])
        log.remove(*rng.choice(sorted(log.faces_by_id), 7, replace=False).tolist())
        if number % 20 == 10:
            index.tidy()
        probe = vectors[rng.integers(len(vectors))]
        assert list(index.search("base", probe, 5).nearest) == brute_force(log, probe, 5)
        assert index.counts() == Counts(
            persons=len({person for _, person, _ in log.faces_by_id.values()}),
            faces=len(log.faces_by_id),
            version=log.now,
        )


def test_a_gallery_whose_every_face_was_removed_is_empty():
    log = enrolled(unit_vectors(200, seed=16), OWNERS["many-faces-each"])
    index = ExactIndex(log, STAMP, longest_tail=SHORT_TAIL)
    assert index.counts().faces == 200
    log.remove(*list(log.faces_by_id))
    probe = unit_vectors(1, seed=17)[0]
    for _ in range(2):
        assert list(index.search("heatmap", probe, 5).nearest) == []
        assert index.counts().persons == 0
        index.tidy()
    assert index._latest.base.segment.count == 0


def test_tidying_takes_the_removed_out_of_memory():
    vectors = unit_vectors(200, seed=18)
    log = enrolled(vectors, OWNERS["each-their-own"])
    index = ExactIndex(log, STAMP, longest_tail=SHORT_TAIL)
    index.counts()
    log.remove("f0000003")
    index.tidy()
    segment = index._latest.base.segment
    assert segment.count == 199
    for model in MODELS:
        assert not (segment.columns[f"{model}/vectors"] == vectors[3]).all(axis=1).any()


@pytest.mark.parametrize(
    "gallery", [name for name in GALLERIES if name not in ("odd-length", "descriptors")]
)
def test_no_similarity_is_beyond_its_bound(gallery: str):
    """Also for probes that are short or of one coordinate: FAISS rounds its tables by them."""
    vectors = GALLERIES[gallery]()
    grid = Grid.fitted(vectors[:1000])
    codes, errors = grid.encode(vectors)
    outliers = outliers_of(errors)
    scan = CodeScan(codes, errors, grid, outliers, vectors[outliers])
    length = vectors.shape[1]
    for probe in [*probes_for(vectors), *np.eye(length, dtype=np.float32)[:3], 1e-3 * vectors[1]]:
        exact = vectors.astype(np.float64) @ probe.astype(np.float64)
        found = scan.promising(probe, 100)
        assert (exact[found.rows] <= found.highest).all()
        others = np.setdiff1d(np.arange(len(vectors)), found.rows)
        assert (exact[others] <= found.ceiling).all()


def test_the_bound_leaves_few_rows_to_compare():
    """Else it would be right, and of no use."""
    vectors = unit_vectors(20_000, seed=19)
    grid = Grid.fitted(vectors[:2000])
    codes, errors = grid.encode(vectors)
    outliers = outliers_of(errors)
    scan = CodeScan(codes, errors, grid, outliers, vectors[outliers])
    probe = vectors[77]
    found = scan.promising(probe, 4000)
    fifth = np.sort(vectors @ probe)[-5]
    assert found.ceiling < fifth
    assert (found.highest >= fifth).sum() < 1000


@pytest.mark.parametrize("reach", [1, 10, 99, 100, 1000])
def test_floats_are_bounded_in_the_same_way(reach: int):
    vectors = unit_vectors(100, seed=20)
    probe = unit_vectors(1, seed=21)[0]
    exact = vectors.astype(np.float64) @ probe.astype(np.float64)
    found = FloatScan(vectors).promising(probe, reach)
    assert len(found.rows) == min(reach, 100)
    assert (exact[found.rows] <= found.highest).all()
    others = np.setdiff1d(np.arange(100), found.rows)
    assert (exact[others] <= found.ceiling).all()
    assert np.isinf(found.ceiling) == (reach >= 100)
