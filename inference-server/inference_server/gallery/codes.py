"""4-bit codes of vectors, and a bound on what each conceals.

Each coordinate becomes one of 16 levels, so a face takes d / 2 bytes; FAISS' fast scan compares
32 faces at a time by shuffling tables in the processor's registers (AVX2, AVX-512 or NEON). Its
sum s for a vector x with codes y, error e = |x - y|, and a probe p differs from the product by

    |x·p - s|  <=  |(x - y)·p| + |y·p - s|  <=  e |p| + r

by Cauchy and Schwarz, whatever the vectors are like. r is what FAISS loses when it rounds its
tables to bytes: half a unit for each coordinate. The few vectors with the largest errors are
compared as they are, so that they do not loosen the bound of all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import Embedding, Vectors
from inference_server.gallery.scan import FloatScan, Promising, Rows, everything

Codes = NDArray[np.uint8]  # (n, d / 2), two levels a byte, the lower half first

BITS: Final = 4
LEVELS: Final = 2**BITS
MAX_DIMENSIONS: Final = 512
"""The sum of all tables must fit 16 bits: beyond, their entries become coarse."""

STEP_PER_DEVIATION: Final = 0.3352
"""The best 16 equal steps for a normal distribution (Max, Quantizing for minimum distortion)."""

OUTLIERS: Final = 1 / 256
"""Of all rows; the error of the next is about the 99.6th percentile."""

SMALLEST_STEP: Final = 1e-6
TABLE_UNITS: Final = 255
SUM_UNITS: Final = 65535
ROUNDING: Final = 1 + 1e-5  # of the errors themselves, which are computed in float32
EPSILON: Final = 2.0**-23


def can_code(dimensions: int) -> bool:
    return dimensions % 2 == 0 and 0 < dimensions <= MAX_DIMENSIONS


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The levels of every coordinate: `lowest` + 0..15 x `step`, each (d,) float32."""

    lowest: NDArray[np.float32]
    step: NDArray[np.float32]

    @classmethod
    def fitted(cls, sample: Vectors) -> Grid:
        """Any sample is right; one that resembles the rest makes the errors small."""
        step = np.maximum(STEP_PER_DEVIATION * sample.std(axis=0), SMALLEST_STEP)
        lowest = sample.mean(axis=0) - (LEVELS - 1) / 2 * step
        return cls(lowest.astype(np.float32), step.astype(np.float32))

    @property
    def levels(self) -> NDArray[np.float32]:
        """(d, 16)."""
        return self.lowest[:, None] + np.arange(LEVELS, dtype=np.float32) * self.step[:, None]

    def encode(self, vectors: Vectors) -> tuple[Codes, NDArray[np.float32]]:
        """Codes, and how far each vector is from them (Euclidean, rounded up)."""
        steps = np.rint((vectors - self.lowest) / self.step).clip(0, LEVELS - 1)
        errors = np.linalg.norm(vectors - (self.lowest + steps * self.step), axis=1)
        digits = steps.astype(np.uint8)
        codes = digits[:, 0::2] | digits[:, 1::2] << BITS
        return codes, (errors * ROUNDING).astype(np.float32)


class CodeScan:
    """Rows by the similarity of their codes. Only codes, errors and outliers are in memory.

    `outliers`: rows that are compared by their own `vectors`.
    """

    def __init__(
        self,
        codes: Codes,
        errors: NDArray[np.float32],
        grid: Grid,
        outliers: Rows,
        vectors: Vectors,
    ) -> None:
        self._index = _fast_scan(codes, grid)
        self._errors = np.array(errors)
        self._grid = grid
        self._outliers = outliers
        self._outlying = FloatScan(vectors)
        self._errors[outliers] = np.nan
        self._largest_error = float(np.nanmax(self._errors, initial=0))

    def promising(self, probe: Embedding, reach: int) -> Promising:
        """Then all outliers. Where FAISS finds fewer rows, all: it drops those of the least sum."""
        asked = np.ascontiguousarray(probe[None], dtype=np.float32)
        (sums,), (rows,) = self._index.search(asked, min(reach, len(self._errors)))
        if reach >= len(self._errors) or rows[-1] < 0:
            return everything(len(self._errors))
        length, lost = float(np.linalg.norm(probe.astype(np.float64))), self._lost(probe)
        highest = sums.astype(np.float64) + length * self._errors[rows] + lost
        inlying = ~np.isnan(highest)
        return Promising(
            np.append(rows[inlying], self._outliers),
            np.append(highest[inlying], self._outlying.highest(probe)),
            ceiling=float(sums[-1]) + length * self._largest_error + lost,
        )

    def _lost(self, probe: Embedding) -> float:
        """What FAISS rounds off: half a unit of each table, and float32 in their sums."""
        terms = np.abs(self._grid.levels.astype(np.float64) * probe[:, None]).max(axis=1)
        spans = np.abs(probe.astype(np.float64)) * self._grid.step * (LEVELS - 1)
        unit = max(spans.max() / TABLE_UNITS, spans.sum() / SUM_UNITS)
        return float(len(probe) * (unit / 2 + EPSILON * terms.sum()))


def outliers_of(errors: NDArray[np.float32]) -> Rows:
    """Ascending."""
    count = int(len(errors) * OUTLIERS)
    return np.sort(np.argpartition(errors, len(errors) - count)[len(errors) - count :])


def _fast_scan(codes: Codes, grid: Grid) -> Any:  # noqa: ANN401 - FAISS has no types
    """FAISS is loaded here, in a worker, by the first gallery that is large enough."""
    import faiss

    dimensions = len(grid.step)
    plain = faiss.IndexPQ(dimensions, dimensions, BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(grid.levels.ravel(), plain.pq.centroids)
    faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), plain.codes)
    plain.is_trained, plain.ntotal = True, len(codes)
    packed = faiss.IndexPQFastScan(plain)  # type: ignore[arg-type]  # one constructor of several
    packed.orig_codes = None  # type: ignore[attr-defined]  # it has its own copy, in another order
    return packed
