"""Vectors of people who do not exist, and galleries of them in SQL.

`people` resemble embeddings: each person is a centre, each face lies around it, and strangers are
as similar as the shipped networks' calibration says (an FMR of about 1e-3 at 0.43). `uniform` is
noise on the sphere, the hardest case for any code.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inference_server.gallery import ModelStamp, Vectors
from inference_server.gallery.store import SqlStore

DIMENSIONS = 128
SEED = 20_261_121
STAMP = ModelStamp(base="b" * 64, heatmap="h" * 64)
FACES_PER_PERSON = 4
SPECTRUM_DECAY = 0.75  # variance of the i-th axis ~ i ** -0.75: an FMR of 1.2e-3 at 0.43
OWN_SHARE, SESSION_SHARE = 0.8, 0.6  # genuine similarity 0.64 on average
BLOCK = 8192


class Population:
    """The same people for the same arguments; `kind` is "people" or "uniform"."""

    def __init__(self, kind: str, faces: int) -> None:
        self.kind = kind
        self.faces = faces
        self.persons = max(faces // FACES_PER_PERSON, 1)
        self._rng = np.random.default_rng((SEED, faces, kind == "people"))
        self._axes = self._draw_axes()
        self._centres = self._draw(self.persons)

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """The first row's number, and faces; face i is of person i modulo `persons`."""
        for start in range(0, self.faces, BLOCK):
            owners = np.arange(start, min(start + BLOCK, self.faces)) % self.persons
            yield start, self._around(owners)

    def probes(self, count: int) -> Vectors:
        """New photos: every other one of a person of the gallery, the rest of strangers."""
        known = self._around(self._rng.integers(self.persons, size=count))
        known[1::2] = self._draw(len(known[1::2]))
        return known

    def _around(self, owners: np.ndarray) -> Vectors:
        session = self._draw(len(owners))
        if self.kind == "uniform":
            return session
        return _normalised(OWN_SHARE * self._centres[owners] + SESSION_SHARE * session)

    def _draw(self, count: int) -> Vectors:
        drawn = self._rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
        return _normalised(drawn @ self._axes)

    def _draw_axes(self) -> Vectors:
        """In directions that have nothing to do with the coordinates."""
        if self.kind == "uniform":
            return np.eye(DIMENSIONS, dtype=np.float32)
        deviations = np.arange(1, DIMENSIONS + 1) ** (-SPECTRUM_DECAY / 2)
        turned, _ = np.linalg.qr(self._rng.standard_normal((DIMENSIONS, DIMENSIONS)))
        return (deviations[:, None] * turned).astype(np.float32)


def face_id(row: int) -> str:
    return f"face-{row:031x}"


def person_id(number: int) -> str:
    return f"person-{number:029x}"


def enrol(population: Population, database: Path, stamp: ModelStamp = STAMP) -> Vectors:
    """Straight into the tables that the server makes; all vectors, too, for brute force."""
    store = SqlStore(f"sqlite:///{database}")
    store.add_person(person_id(0))
    store.close()
    vectors = np.empty((population.faces, DIMENSIONS), dtype=np.float32)
    with sqlite3.connect(database) as connection:
        persons = ((person_id(number),) for number in range(population.persons))
        connection.executemany("INSERT OR IGNORE INTO person VALUES (?)", persons)
        for start, block in population.blocks():
            vectors[start : start + len(block)] = block
            connection.executemany(INSERT, _rows(population, start, block, stamp))
        connection.execute("UPDATE gallery SET version = ?", (population.faces,))
        connection.execute("INSERT INTO change VALUES (?, 'benchmark')", (population.faces,))
    connection.close()
    return vectors


INSERT = "INSERT INTO face VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '[0, 0, 90, 90]', 80, '[]', ?)"


def _rows(
    population: Population, start: int, block: Vectors, stamp: ModelStamp
) -> Iterator[tuple[object, ...]]:
    """The heatmap model's vectors are the base model's, backwards: as many, but not the same."""
    for row, vector in enumerate(block, start):
        owner = person_id(row % population.persons)
        blobs = (vector.tobytes(), vector[::-1].tobytes())
        stamps = (stamp.base, stamp.heatmap, f"{row:064x}")
        yield face_id(row), owner, row + 1, *blobs, *stamps, "2026-01-01T00:00:00+00:00"


def _normalised(vectors: Vectors) -> Vectors:
    rows: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows
