"""What was measured of one template: its curves, their tail, the rule of isolation.

calibration.py says what they mean and answers from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from face_models.errors import WeightsError
from face_models.spec import Json, exact_keys

FLOOR_DECADES: Final = 2
"""No claim is made below a hundredth of one match among all pairs of people measured."""
TAIL_AGREEMENT_DECADES: Final = 1e-3
MOST_LOG_ISOLATION: Final = math.log(2)
"""Nobody is taken for more than twice or less than half as isolated as the median person."""
DISPERSION_LOG10_FMR: Final = (-4.0, -3.0, -2.0, -1.0)
"""Where dispersions are measured; rarer false matches clump more, at least as the rarest here."""

Scores = NDArray[np.floating[Any]]
Curve = tuple[float, ...]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """FMR(s) = FMR(threshold) (1 + shape (s - threshold) / scale)^(-1 / shape), shape <= 0.

    The generalised Pareto survival function; shape 0 is its limit, an exponential.
    """

    threshold: float
    log10_fmr: float
    scale: float
    shape: float

    def __post_init__(self) -> None:
        if not (self.scale > 0 >= self.shape and -1 < self.threshold < 1 and self.log10_fmr <= 0):
            raise ValueError(f"tail must have scale > 0, shape <= 0, FMR <= 1; it is {self}.")

    def log10_at(self, similarity: Scores | float) -> Scores:
        """-inf where no impostor can be."""
        excess = (np.asarray(similarity, dtype=np.float64) - self.threshold) / self.scale
        if self.shape == 0:
            return np.asarray(self.log10_fmr - excess / math.log(10))
        with np.errstate(divide="ignore"):
            left = np.log10(np.maximum(1 + self.shape * excess, 0))
        return np.asarray(self.log10_fmr - left / self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """ln(isolation) = embedding . weights + intercept, held within a factor of two."""

    weights: Curve
    intercept: float

    def __post_init__(self) -> None:
        if not self.weights or not np.isfinite(np.array([*self.weights, self.intercept])).all():
            raise ValueError("isolation must have finite weights and intercept.")

    def of(self, probes: Scores) -> Scores:
        """Embeddings (..., d) -> (...,), 1 for the median person.

        Raises:
            ValueError: embeddings of another length.
        """
        logs = np.asarray(probes, dtype=np.float64) @ np.array(self.weights) + self.intercept
        return np.asarray(np.exp(np.clip(logs, -MOST_LOG_ISOLATION, MOST_LOG_ISOLATION)))


def on_probes_scale(similarity: Scores | float, isolation: Scores | float) -> Scores:
    """The similarity that says as much of the median person; 1 stays 1."""
    return np.asarray(1 - (1 - np.minimum(similarity, 1.0)) / isolation)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTable:
    """Curves over ascending similarities on the probe's scale, and where they come from.

    `model_sha256`: the graph that was measured. `data`: whose pairs they were; `people`: how many;
    `pairs_of_people`: different ones; `dispersion`: at DISPERSION_LOG10_FMR; `seed`: of the
    bootstrap that the interval is from.
    """

    model_sha256: str
    data: str
    people: int
    pairs_of_people: int
    genuine_pairs: int
    impostor_pairs: int
    seed: int
    isolation: Isolation
    tail: Tail
    dispersion: Curve
    similarity: Curve
    log10_fmr: Curve
    log10_fmr_low: Curve
    log10_fmr_high: Curve
    fnmr: Curve
    confidence: Curve

    def __post_init__(self) -> None:
        _check_curve("dispersion", self.dispersion, len(DISPERSION_LOG10_FMR), direction=1)
        if self.dispersion[0] <= 0:
            raise ValueError(f"dispersion must be above 0, not {self.dispersion[0]}.")
        for name in ("similarity", "fnmr", "confidence"):
            _check_curve(name, getattr(self, name), len(self.similarity), direction=1)
        for name in ("log10_fmr", "log10_fmr_low", "log10_fmr_high"):
            _check_curve(name, getattr(self, name), len(self.similarity), direction=-1)
        grid = np.array(self.similarity)
        beyond = grid > self.tail.threshold
        if np.abs(self.log10_at(grid) - self.log10_fmr)[beyond].max(initial=0) > (
            TAIL_AGREEMENT_DECADES
        ):
            raise ValueError("log10_fmr does not agree with its tail.")

    @property
    def log10_floor(self) -> float:
        return -math.log10(self.pairs_of_people) - FLOOR_DECADES

    def log10_at(self, similarity: Scores | float) -> Scores:
        """The curve, beyond the tail's threshold the tail, never below the floor."""
        counted = np.interp(similarity, self.similarity, self.log10_fmr)
        tail = np.maximum(self.tail.log10_at(similarity), self.log10_floor)
        return np.where(np.asarray(similarity) > self.tail.threshold, tail, counted)


_TYPES: Final = {"str": str, "int": int, "float": float, "Curve": list}
_PARTS: Final = {"isolation": Isolation, "tail": Tail}


def table_from(raw: Json, where: str) -> CalibrationTable:
    """Read a table of calibration.json; `where` is named in what is refused.

    Raises:
        WeightsError: missing or unknown keys, wrong types, curves that contradict themselves.
    """
    known = {field.name: _TYPES.get(str(field.type), dict) for field in fields(CalibrationTable)}
    values = dict(exact_keys(raw, known, where=where))
    for part, kind in _PARTS.items():
        values[part] = _part(kind, values[part], where=f"{where}.{part}")
    return _made(CalibrationTable, values, where)


def _part(kind: type[Isolation | Tail], raw: Json, where: str) -> Isolation | Tail:
    known = {field.name: _TYPES[str(field.type)] for field in fields(kind)}
    return _made(kind, dict(exact_keys(raw, known, where=where)), where)


def _made(kind: type[Made], values: dict[str, Any], where: str) -> Made:
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**tuples)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{where}: {error}") from error


def _check_curve(name: str, curve: Curve, length: int, *, direction: int) -> None:
    values = np.asarray(curve, dtype=np.float64)
    if length < 2 or values.shape != (length,) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be {max(length, 2)} finite numbers.")
    if (direction * np.diff(values) < 0).any():
        raise ValueError(f"{name} must not {'fall' if direction > 0 else 'rise'}.")
