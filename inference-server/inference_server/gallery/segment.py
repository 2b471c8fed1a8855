"""The columns of many faces, in one stretch of memory or of a file, never changed once filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import MODELS, FaceBatch, Identifiers, Vectors
from inference_server.gallery.codes import CodeScan, Grid, can_code, outliers_of
from inference_server.gallery.rows import IDENTIFIER, VECTOR
from inference_server.gallery.scan import FloatScan, Rows, Scan

Buffer = NDArray[np.uint8]
Columns = Mapping[str, NDArray[Any]]

CODES_FROM: Final = 16_384
"""Fewer faces are compared as fast without codes."""

ALIGNMENT: Final = 64
ROW: Final = np.dtype("<u4")
NO_ROWS: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each column lies, for so many faces with vectors of these lengths by model."""

    count: int
    dimensions: Mapping[str, int]

    @property
    def bytes(self) -> int:
        return sum(_aligned(dtype, shape) for dtype, shape in self._shapes().values())

    def offsets(self) -> dict[str, int]:
        sizes = [_aligned(dtype, shape) for dtype, shape in self._shapes().values()]
        return dict(zip(self._shapes(), accumulate(sizes, initial=0), strict=False))

    def over(self, buffer: Buffer) -> dict[str, NDArray[Any]]:
        """Views of `buffer`."""
        offsets = self.offsets()
        return {
            name: buffer[offsets[name] : offsets[name] + dtype.itemsize * prod(shape)]
            .view(dtype)
            .reshape(shape)
            for name, (dtype, shape) in self._shapes().items()
        }

    def is_coded(self, model: str) -> bool:
        return self.count >= max(CODES_FROM, 1) and can_code(self.dimensions[model])

    def _shapes(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        count = self.count
        shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        shapes |= dict.fromkeys(("face_ids", "person_ids"), (IDENTIFIER, (count,)))
        shapes |= dict.fromkeys(("by_face", "by_person"), (ROW, (count,)))
        for model, length in self.dimensions.items():
            shapes[f"{model}/vectors"] = (VECTOR, (count, length))
            if self.is_coded(model):
                shapes[f"{model}/codes"] = (np.dtype(np.uint8), (count, length // 2))
                shapes[f"{model}/errors"] = (VECTOR, (count,))
                shapes[f"{model}/grid"] = (VECTOR, (2, length))
        return shapes


class VectorSource(Protocol):
    def take(self, model: str, rows: Rows) -> Vectors:
        """Of ascending rows."""
        ...

    def release(self) -> None:
        """Pages of a file that were read need not stay in this process's memory."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """`by_face` and `by_person` are the rows in the order of those identifiers."""

    layout: Layout
    columns: Columns
    source: VectorSource
    persons: int
    _scans: dict[str, Scan] = field(default_factory=dict)
    _loading: Lock = field(default_factory=Lock)

    @property
    def count(self) -> int:
        return self.layout.count

    @property
    def face_ids(self) -> Identifiers:
        return self.columns["face_ids"]

    @property
    def person_ids(self) -> Identifiers:
        return self.columns["person_ids"]

    @property
    def loaded_models(self) -> tuple[str, ...]:
        return tuple(self._scans)

    def rows_of(self, face_ids: Identifiers) -> Rows:
        """Where they are; those that are not here are left out."""
        if not self.count:
            return NO_ROWS
        order = self.columns["by_face"]
        places = np.searchsorted(self.face_ids, face_ids, sorter=order)
        rows: Rows = order[places.clip(0, self.count - 1)].astype(np.int64)
        here: NDArray[np.bool_] = self.face_ids[rows] == face_ids
        return rows[here]

    def faces_of(self, person_id: bytes) -> int:
        if not self.count:
            return 0
        sought = np.array(person_id, dtype=IDENTIFIER)
        first, after = (
            np.searchsorted(self.person_ids, sought, side, sorter=self.columns["by_person"])
            for side in ("left", "right")
        )
        return int(after - first)

    def scan(self, model: str) -> Scan:
        """Loaded into memory at its first use."""
        with self._loading:
            if model not in self._scans:
                self._scans[model] = self._load_scan(model)
            return self._scans[model]

    def release(self, model: str) -> None:
        """After a search by codes; without them, the next needs the same pages again."""
        if self.layout.is_coded(model):
            self.source.release()

    def batches(self, alive: NDArray[np.bool_], size: int) -> Iterator[FaceBatch]:
        for start in range(0, self.count, size):
            rows = start + np.flatnonzero(alive[start : start + size])
            yield FaceBatch(
                face_ids=self.face_ids[rows],
                person_ids=self.person_ids[rows],
                vectors={model: self.source.take(model, rows) for model in MODELS},
            )

    def _load_scan(self, model: str) -> Scan:
        if not self.layout.is_coded(model):
            return FloatScan(self.columns[f"{model}/vectors"])
        codes, errors = self.columns[f"{model}/codes"], self.columns[f"{model}/errors"]
        grid, outliers = Grid(*np.array(self.columns[f"{model}/grid"])), outliers_of(errors)
        return CodeScan(codes, errors, grid, outliers, self.source.take(model, outliers))


@dataclass(frozen=True, slots=True)
class MemorySource:
    columns: Columns

    def take(self, model: str, rows: Rows) -> Vectors:
        taken: Vectors = self.columns[f"{model}/vectors"][rows]
        return taken

    def release(self) -> None:
        pass


def segment_in_memory(layout: Layout, batches: Iterable[FaceBatch]) -> Segment:
    columns = layout.over(np.empty(layout.bytes, dtype=np.uint8))
    persons = fill(columns, batches)
    return Segment(layout, columns, MemorySource(columns), persons)


def empty_segment() -> Segment:
    columns = Layout(0, dict.fromkeys(MODELS, 0)).over(np.empty(0, dtype=np.uint8))
    return Segment(Layout(0, dict.fromkeys(MODELS, 0)), columns, MemorySource(columns), 0)


def fill(columns: Columns, batches: Iterable[FaceBatch]) -> int:
    """How many persons they are; exactly as many faces as there is room for must come.

    The first vectors decide the grids.
    """
    start, grids = 0, dict[str, Grid]()
    for batch in batches:
        rows = slice(start, start := start + len(batch.face_ids))
        columns["face_ids"][rows], columns["person_ids"][rows] = batch.face_ids, batch.person_ids
        for model, vectors in batch.vectors.items():
            columns[f"{model}/vectors"][rows] = vectors
            if f"{model}/codes" in columns and len(vectors):
                grid = grids.setdefault(model, Grid.fitted(vectors))
                codes, errors = grid.encode(vectors)
                columns[f"{model}/codes"][rows], columns[f"{model}/errors"][rows] = codes, errors
    for model, grid in grids.items():
        columns[f"{model}/grid"][:] = grid.lowest, grid.step
    for order, sorted_by in (("by_face", "face_ids"), ("by_person", "person_ids")):
        columns[order][:] = np.argsort(columns[sorted_by], kind="stable")
    persons = columns["person_ids"][columns["by_person"]]
    return int((persons[1:] != persons[:-1]).sum()) + 1


def _aligned(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return -(-dtype.itemsize * prod(shape) // ALIGNMENT) * ALIGNMENT
