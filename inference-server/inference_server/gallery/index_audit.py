"""The index held against the truth, row by row, and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from inference_server.gallery import MODELS, ModelStamp
from inference_server.gallery.ledger import Ledger, VersionedFaces
from inference_server.gallery.milvus_collection import Row
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_schema import row_id


@dataclass(frozen=True, slots=True)
class Findings:
    """`behind`: changes of the gallery that nobody has brought to the index yet."""

    compared: int
    behind: int
    missing: int
    differing: int
    surplus: int

    @property
    def is_clean(self) -> bool:
        return not (self.behind or self.missing or self.differing or self.surplus)


class Audit:
    """Only of what was written up to the version at its start: others go on meanwhile."""

    def __init__(self, ledger: Ledger, stamp: ModelStamp, faces: MilvusFaces) -> None:
        self._ledger = ledger
        self._stamp = stamp
        self._faces = faces

    def run(self, *, repair: bool, on_faces: Callable[[int], object] = lambda _: None) -> Findings:
        """What was found; with `repair` it is mended when this returns.

        Raises:
            StoreUnavailable
        """
        version, position = self._ledger.moment().version, self._faces.position()
        compared = missing = differing = 0
        for page in face_pages(self._ledger, self._stamp):
            absent, other = self._compare(page, version)
            if repair:
                self._faces.put(page.picked([*absent, *other]))
            compared += len(page.face_ids)
            missing += len(absent)
            differing += len(other)
            on_faces(len(page.face_ids))
        surplus = self._surplus(version)
        if repair:
            self._faces.remove_rows(surplus)
        behind = max(version - position.version, 0) if compared else 0
        return Findings(compared, behind, missing, differing, len(surplus))

    def _compare(self, page: VersionedFaces, version: int) -> tuple[list[int], list[int]]:
        """Numbers of the page's faces that are missing, and of those that differ."""
        fields = ["row_id", "person_id", *MODELS]
        rows = {row["row_id"]: row for row in self._faces.rows_of(page.face_ids, fields)}
        old = [number for number, written in enumerate(page.versions) if written <= version]
        absent = [number for number in old if _row_id(page, number) not in rows]
        other = [
            number
            for number in set(old).difference(absent)
            if _differs(rows[_row_id(page, number)], page, number)
        ]
        return self._still_there(page, absent), self._still_there(page, other)

    def _still_there(self, page: VersionedFaces, numbers: list[int]) -> list[int]:
        """Without those who went, or changed, between the two readings."""
        if not numbers:
            return []
        now = self._ledger.faces([page.face_ids[number] for number in numbers], self._stamp)
        known = set(zip(now.face_ids, now.versions, strict=True))
        return [n for n in numbers if (page.face_ids[n], page.versions[n]) in known]

    def _surplus(self, version: int) -> list[str]:
        """Rows of faces that are no more, or were written anew since."""
        found = []
        for rows in self._faces.all_rows(["row_id", "face_id", "version"]):
            now = self._ledger.faces([row["face_id"] for row in rows], self._stamp)
            known = {row_id(*one) for one in zip(now.face_ids, now.versions, strict=True)}
            found += [
                row["row_id"]
                for row in rows
                if row["version"] <= version and row["row_id"] not in known
            ]
        return found


def face_pages(ledger: Ledger, stamp: ModelStamp) -> Iterator[VersionedFaces]:
    """All faces of a stamp, in the order of their identifiers."""
    page = ledger.faces_after("", stamp)
    while page.face_ids:
        yield page
        page = ledger.faces_after(page.face_ids[-1], stamp)


def _row_id(page: VersionedFaces, number: int) -> str:
    return row_id(page.face_ids[number], page.versions[number])


def _differs(row: Row, page: VersionedFaces, number: int) -> bool:
    return row["person_id"] != page.person_ids[number] or any(
        not np.array_equal(np.asarray(row[name], dtype=np.float32), page.vectors[name][number])
        for name in MODELS
    )
