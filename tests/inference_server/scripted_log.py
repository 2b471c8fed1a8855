"""A change log in memory, and what brute force finds in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from inference_server.gallery import (
    BEGINNING,
    MODELS,
    Changes,
    FaceBatch,
    ModelStamp,
    Moment,
    News,
    Resemblance,
    Vectors,
)
from inference_server.gallery.rows import IDENTIFIER


class ScriptedLog:
    """What an index asks for, and how often. `name` stands for all marks of this gallery."""

    def __init__(self, name: str = "gallery") -> None:
        self.faces: dict[str, tuple[int, str, Vectors]] = {}
        self.removals: list[tuple[int, str]] = []
        self.name = name
        self.now = 0
        self.asked_for_changes = 0

    def enrol(self, person_id: str, face_id: str, vector: Vectors) -> None:
        self.now += 1
        self.faces[face_id] = (self.now, person_id, vector)

    def enrol_all(self, person_ids: list[str], vectors: Vectors) -> None:
        for number, (person_id, vector) in enumerate(zip(person_ids, vectors, strict=True)):
            self.enrol(person_id, f"f{number:07}", vector)

    def remove(self, *face_ids: str) -> None:
        for face_id in face_ids:
            self.now += 1
            del self.faces[face_id]
            self.removals.append((self.now, face_id))

    def version(self) -> int:
        return self.now

    def moment(self) -> Moment:
        return Moment(self.now, self.name)

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        came = {face: row for face, row in self.faces.items() if row[0] > version}
        return Changes(
            version=self.now,
            removed=frozenset(face for when, face in self.removals if when > version),
            face_ids=tuple(came),
            person_ids=tuple(row[1] for row in came.values()),
            vectors=self._vectors(came),
        )

    @contextmanager
    def news(self, since: Moment, stamp: ModelStamp) -> Iterator[News]:
        self.asked_for_changes += 1
        anew = since == BEGINNING or since.mark != self.name or since.version > self.now
        changes = self.changes_since(-1 if anew else since.version, stamp)
        yield News(
            moment=self.moment(),
            anew=anew,
            removed=frozenset() if anew else changes.removed,
            count=len(changes.face_ids),
            batches=batches_of(changes),
        )

    def count_outdated(self, stamp: ModelStamp) -> int:
        return 0

    def _vectors(self, came: dict[str, tuple[int, str, Vectors]]) -> dict[str, Vectors]:
        vectors = [row[2] for row in came.values()]
        rows = np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)
        return dict.fromkeys(MODELS, rows)


def batches_of(changes: Changes, size: int = 1000) -> Iterator[FaceBatch]:
    for start in range(0, len(changes.face_ids), size):
        rows = slice(start, start + size)
        yield FaceBatch(
            np.array(changes.face_ids[rows], dtype=IDENTIFIER),
            np.array(changes.person_ids[rows], dtype=IDENTIFIER),
            {model: vectors[rows] for model, vectors in changes.vectors.items()},
        )


def brute_force(log: ScriptedLog, probe: Vectors, top_k: int) -> list[Resemblance]:
    """Every face of the log, one after the other."""
    best: dict[str, tuple[float, str]] = {}
    vectors = np.stack([row[2] for row in log.faces.values()]).astype(np.float64)
    similarities = (vectors @ probe.astype(np.float64)).clip(-1, 1).round(6).tolist()
    for (face_id, row), similarity in zip(log.faces.items(), similarities, strict=True):
        key = (-similarity, face_id)
        best[row[1]] = min(best.get(row[1], key), key)
    ranked = sorted((key[0], person_id, key[1]) for person_id, key in best.items())[:top_k]
    return [Resemblance(person_id, face_id, -distance) for distance, person_id, face_id in ranked]
