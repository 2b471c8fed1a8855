"""A change log in memory: what an index asks for, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inference_server.gallery import MODELS, Changes, Counts, ModelStamp, Resemblance, Vectors
from inference_server.gallery.ledger import Page, VersionedFaces


class ScriptedLog:
    """ChangeLog and Ledger; every model's vectors are the same."""

    def __init__(self) -> None:
        self.faces_by_id: dict[str, tuple[int, str, Vectors]] = {}
        self.removals: list[tuple[int, str]] = []
        self.now = 0
        self.asked_for_changes = 0

    def enrol(self, person_id: str, face_id: str, vector: Vectors) -> None:
        self.now += 1
        self.faces_by_id[face_id] = (self.now, person_id, vector)

    def remove(self, face_id: str) -> None:
        self.now += 1
        del self.faces_by_id[face_id]
        self.removals.append((self.now, face_id))

    def version(self) -> int:
        return self.now

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        self.asked_for_changes += 1
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
        yield Page(self.now, self._removed(after), came, self.counts())

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


def brute_force(log: ScriptedLog, probe: Vectors, top_k: int) -> list[Resemblance]:
    best: dict[str, tuple[float, str]] = {}
    for face_id, (_, person_id, vector) in log.faces_by_id.items():
        similarity = round(float(np.dot(vector.astype(float), probe.astype(float))), 6)
        key = (-similarity, face_id)
        best[person_id] = min(best.get(person_id, key), key)
    ranked = sorted((key[0], person_id, key[1]) for person_id, key in best.items())[:top_k]
    return [Resemblance(person_id, face_id, -distance) for distance, person_id, face_id in ranked]
