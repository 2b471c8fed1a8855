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
    """`rows`, most promising first; `highest`: what each row's similarity is at most.

    `ceiling`: what every other row's similarity is at most.
    """

    rows: Rows
    highest: Similarities
    ceiling: float


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
        products = self._products(probe)
        rows = np.arange(len(products), dtype=np.int64)
        if reach < len(products):
            rows = np.argpartition(-products, reach)[: reach + 1]
        rows = rows[np.argsort(-products[rows], kind="stable")]
        highest = products[rows] + self._lost(probe)
        if reach >= len(products):
            return Promising(rows, highest, ceiling=-np.inf)
        return Promising(rows[:reach], highest[:reach], ceiling=float(highest[reach]))

    def _products(self, probe: Embedding) -> Similarities:
        count = len(self._vectors)
        step = max(BLOCK_BYTES // max(self._vectors.itemsize * len(probe), 1), 1)
        blocks = [self._vectors[i : i + step] @ probe for i in range(0, count, step)]
        return np.concatenate(blocks or [np.empty(0)]).astype(np.float64)

    def _lost(self, probe: Embedding) -> float:
        """Twice the bound: vectors may be a little longer than 1."""
        return 2 * len(probe) * UNIT_ROUNDOFF * float(np.linalg.norm(probe.astype(np.float64)))
