"""Which rows may be among the nearest, and what no other row can reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import Embedding, Vectors

Rows = NDArray[np.int64]
Similarities = NDArray[np.float64]

BLOCK_BYTES: Final = 16 * 2**20
UNIT_ROUNDOFF: Final = 2.0**-24  # of float32


@dataclass(frozen=True, slots=True, eq=False)
class Promising:
    """`rows`, the first by far the best; `highest`: what each row's similarity is at most.

    `ceiling`: what every other row's similarity is at most.
    """

    rows: Rows
    highest: Similarities
    ceiling: float


def everything(count: int) -> Promising:
    """Nothing is known of any row."""
    return Promising(np.arange(count, dtype=np.int64), np.full(count, np.inf), ceiling=-np.inf)


class Scan(Protocol):
    def promising(self, probe: Embedding, reach: int) -> Promising:
        """At most `reach` rows; all of them, under a ceiling of -inf, if there are no more."""
        ...


class FloatScan:
    """Compares with the vectors themselves, in blocks, as float32.

    A sum of d products in any order is off by at most d u |x| |p| (Higham, Accuracy and Stability
    of Numerical Algorithms, 3.1).
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def promising(self, probe: Embedding, reach: int) -> Promising:
        highest = self.highest(probe)
        rows = np.arange(len(highest), dtype=np.int64)
        if reach < len(rows):
            rows = np.argpartition(-highest, reach)[: reach + 1]
        rows = rows[np.argsort(-highest[rows])]
        if reach >= len(highest):
            return Promising(rows, highest[rows], ceiling=-np.inf)
        ceiling = float(highest[rows[reach]])
        return Promising(rows[:reach], highest[rows[:reach]], ceiling)

    def highest(self, probe: Embedding) -> Similarities:
        """What each row's similarity is at most."""
        return self._products(probe) + self._lost(probe)

    def _products(self, probe: Embedding) -> Similarities:
        count = len(self._vectors)
        step = max(BLOCK_BYTES // max(self._vectors.itemsize * len(probe), 1), 1)
        blocks = [self._vectors[i : i + step] @ probe for i in range(0, count, step)]
        return np.concatenate(blocks or [np.empty(0)]).astype(np.float64)

    def _lost(self, probe: Embedding) -> float:
        """Twice the bound: vectors may be a little longer than 1."""
        return 2 * len(probe) * UNIT_ROUNDOFF * float(np.linalg.norm(probe.astype(np.float64)))
