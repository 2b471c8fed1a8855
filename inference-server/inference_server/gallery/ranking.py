"""From promising rows to the nearest persons: what float32 brute force answers, proved row by row.

Few rows are compared exactly first; the k-th person among them is a floor under the answer. Then
every row whose bound reaches the floor is compared, too. If what no other row can exceed lies
below the floor, the answer is complete; else the same again with more rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import Embedding, Identifiers, Resemblance, Vectors
from inference_server.gallery.scan import BLOCK_BYTES, Promising, Rows, Scan, Similarities

DECIMALS: Final = 6
"""Of a similarity. The sums are made in float64, so equal faces tie everywhere."""

STEP: Final = 10.0**-DECIMALS
FIRST_REACH: Final = 2048
REACH_PER_ROOT: Final = 16
"""So many times the root of the gallery's size: nearly always enough to end the search."""

REACH_GROWTH: Final = 4
FIRST_ROWS: Final = 64
ROWS_PER_PERSON: Final = 4


class Part(Protocol):
    """Faces that are searched together."""

    @property
    def face_ids(self) -> Identifiers: ...

    @property
    def person_ids(self) -> Identifiers: ...

    def scan(self, model: str) -> Scan: ...

    def alive(self, rows: Rows) -> NDArray[np.bool_]: ...

    def take(self, model: str, rows: Rows) -> Vectors:
        """Of ascending rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Faces that were compared exactly; all arrays run parallel."""

    similarities: Similarities
    person_ids: Identifiers
    face_ids: Identifiers

    @classmethod
    def of(cls, tables: Sequence[Table]) -> Table:
        return cls(
            np.concatenate([table.similarities for table in tables]),
            np.concatenate([table.person_ids for table in tables]),
            np.concatenate([table.face_ids for table in tables]),
        )

    def best(self, top_k: int) -> NDArray[np.intp]:
        """One row a person; ties go to the smaller person_id, then the smaller face_id."""
        order = np.lexsort((self.face_ids, self.person_ids, -self.similarities))
        _, firsts = np.unique(self.person_ids[order], return_index=True)
        return order[np.sort(firsts)[:top_k]]

    def floor(self, top_k: int) -> float:
        """What the k-th person reaches; -inf if there are not so many."""
        best = self.best(top_k)
        return float(self.similarities[best[-1]]) if len(best) == top_k else -np.inf

    def resemblances(self, top_k: int) -> list[Resemblance]:
        return [
            Resemblance(
                person_id=self.person_ids[row].decode(),
                face_id=self.face_ids[row].decode(),
                similarity=float(self.similarities[row]),
            )
            for row in self.best(top_k)
        ]


def nearest(
    parts: Sequence[Part], model: str, probe: Embedding, top_k: int, faces: int
) -> list[Resemblance]:
    """`faces`: of all parts, alive or not; so many rows are certainly all."""
    reach = max(FIRST_REACH, REACH_PER_ROOT * isqrt(faces)) if top_k < FIRST_REACH else faces
    while True:
        promising = [_living(part, part.scan(model).promising(probe, reach)) for part in parts]
        table = _compared(parts, promising, model, probe, top_k)
        ceiling = max((found.ceiling for found in promising), default=-np.inf)
        if ceiling + STEP <= table.floor(top_k):
            return table.resemblances(top_k)
        reach = reach * REACH_GROWTH if reach * REACH_GROWTH < faces / 4 else faces


def _living(part: Part, found: Promising) -> Promising:
    alive = part.alive(found.rows)
    return Promising(found.rows[alive], found.highest[alive], found.ceiling)


def _compared(
    parts: Sequence[Part], promising: Sequence[Promising], model: str, probe: Embedding, top_k: int
) -> Table:
    """Every promising row that can be among the nearest."""
    count = max(FIRST_ROWS, ROWS_PER_PERSON * top_k)
    first = [
        _table(part, model, found.rows[:count], probe)
        for part, found in zip(parts, promising, strict=True)
    ]
    floor = Table.of(first).floor(top_k)
    rest = [
        _table(part, model, found.rows[count:][found.highest[count:] + STEP >= floor], probe, floor)
        for part, found in zip(parts, promising, strict=True)
    ]
    return Table.of(first + rest)


def _table(part: Part, model: str, rows: Rows, probe: Embedding, floor: float = -np.inf) -> Table:
    rows = np.sort(rows)
    similarities = _similarities(part, model, rows, probe)
    rows, similarities = rows[similarities >= floor], similarities[similarities >= floor]
    return Table(similarities, part.person_ids[rows], part.face_ids[rows])


def _similarities(part: Part, model: str, rows: Rows, probe: Embedding) -> Similarities:
    exact_probe = probe.astype(np.float64)
    step = max(BLOCK_BYTES // exact_probe.nbytes, 1)
    products = [
        part.take(model, rows[start : start + step]).astype(np.float64) @ exact_probe
        for start in range(0, len(rows), step)
    ]
    return np.concatenate(products or [np.empty(0)]).clip(-1, 1).round(DECIMALS)
