"""A change log in memory: what an index asks for, and how often; and what brute force finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from inference_server.gallery import (
    BEGINNING,
    MODELS,
    Changes,
    Counts,
    FaceBatch,
    ModelStamp,
    Moment,
    News,
    Resemblance,
    Vectors,
)
from inference_server.gallery.ledger import Page, VersionedFaces
from inference_server.gallery.rows import IDENTIFIER


class ScriptedLog:
    """ChangeLog and Ledger; every model's vectors are the same.

    `name` stands for all marks of this gallery.
    """

    def __init__(self, name: str = "gallery") -> None:
        self.faces_by_id: dict[str, tuple[int, str, Vectors]] = {}
        self.removals: list[tuple[int, str]] = []
        self.name = name
        self.now = 0
        self.asked_for_changes = 0

    def enrol(self, person_id: str, face_id: str, vector: Vectors) -> None:
        self.now += 1
        self.faces_by_id[face_id] = (self.now, person_id, vector)

    def enrol_all(self, person_ids: list[str], vectors: Vectors) -> None:
        for number, (person_id, vector) in enumerate(zip(person_ids, vectors, strict=True)):
            self.enrol(person_id, f"f{number:07}", vector)

    def remove(self, *face_ids: str) -> None:
        for face_id in face_ids:
            self.now += 1
            del self.faces_by_id[face_id]
            self.removals.append((self.now, face_id))

    def version(self) -> int:
        return self.now

    def moment(self) -> Moment:
        return Moment(self.now, self.name)

    def was_at(self, moment: Moment) -> bool:
        return moment.mark == self.name and moment.version <= self.now

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

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        came = self._faces(face for face, row in self.faces_by_id.items() if row[0] > version)
        return Changes(
            version=self.now,
            removed=self._removed(version),
            face_ids=came.face_ids,
            person_ids=came.person_ids,
            vectors=came.vectors,
        )

    def count_outdated(self, stamp: ModelStamp) -> int:
        return 0

    def pages(self, after: int, stamp: ModelStamp) -> Iterator[Page]:
        self.asked_for_changes += 1
        came = self._faces(face for face, row in self.faces_by_id.items() if row[0] > after)
        yield Page(self.moment(), self._removed(after), came, self.counts())

    def faces(self, face_ids: Sequence[str], stamp: ModelStamp) -> VersionedFaces:
        return self._faces(face_id for face_id in face_ids if face_id in self.faces_by_id)

    def faces_after(self, face_id: str, stamp: ModelStamp) -> VersionedFaces:
        return self._faces(sorted(one for one in self.faces_by_id if one > face_id))

    def counts(self) -> Counts:
        persons = {person for _, person, _ in self.faces_by_id.values()}
        return Counts(len(persons), len(self.faces_by_id), self.now)

    def _removed(self, version: int) -> frozenset[str]:
        return frozenset(face for when, face in self.removals if when > version)

    def _faces(self, face_ids: Iterator[str] | Sequence[str]) -> VersionedFaces:
        found = {face_id: self.faces_by_id[face_id] for face_id in face_ids}
        vectors = [row[2] for row in found.values()]
        rows = np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)
        return VersionedFaces(
            face_ids=tuple(found),
            person_ids=tuple(row[1] for row in found.values()),
            versions=tuple(row[0] for row in found.values()),
            vectors=dict.fromkeys(MODELS, rows),
        )


class TwoSidedLog(ScriptedLog):
    """Two persons whose base vectors are each other's heatmap vectors."""

    def __init__(self, base: Vectors) -> None:
        super().__init__()
        self.sides = {"base": base, "heatmap": base[::-1]}
        for person, vector in zip(("p0", "p1"), base, strict=True):
            self.enrol(person, person.replace("p", "f"), vector)

    def _faces(self, face_ids: Iterator[str] | Sequence[str]) -> VersionedFaces:
        found = super()._faces(face_ids)
        rows = [int(face_id.removeprefix("f")) for face_id in found.face_ids]
        sides = {name: side[rows] for name, side in self.sides.items()}
        return VersionedFaces(found.face_ids, found.person_ids, found.versions, sides)


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
    vectors = np.stack([row[2] for row in log.faces_by_id.values()]).astype(np.float64)
    similarities = (vectors @ probe.astype(np.float64)).clip(-1, 1).round(6).tolist()
    for (face_id, row), similarity in zip(log.faces_by_id.items(), similarities, strict=True):
        key = (-similarity, face_id)
        best[row[1]] = min(best.get(row[1], key), key)
    ranked = sorted((key[0], person_id, key[1]) for person_id, key in best.items())[:top_k]
    return [Resemblance(person_id, face_id, -distance) for distance, person_id, face_id in ranked]
