"""How far figures would move with other people: percentile bootstrap intervals.

Comparisons that share a person are not independent, so people are drawn with replacement, not
pairs: a same-person pair counts as often as its person was drawn, a pair of two people as often as
the product says (Bolle et al. 2004, "Error analysis of pattern recognition systems: the subsets
bootstrap", CVIU 93-1). Copies of one person are not compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

REPLICATES = 1000
CONFIDENCE = 0.95
PERCENTILES = (50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE)

Numbers = NDArray[np.int64]
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Resampling:
    replicates: int = REPLICATES
    seed: int = 0


def draws(units: int, resampling: Resampling) -> Iterator[Counts]:
    """How often each of `units` is drawn (units,), one draw after another."""
    random = np.random.default_rng(resampling.seed)
    for _ in range(resampling.replicates):
        drawn = random.integers(units, size=units)
        yield np.bincount(drawn, minlength=units).astype(np.float64)


def pair_weights(counts: Counts, a: Numbers, b: Numbers) -> Counts:
    """How often the comparisons of persons `a` with persons `b` (n,) count."""
    return np.where(a == b, counts[a], counts[a] * counts[b])


def intervals(
    figures: Callable[[Counts], Mapping[str, Any] | None],
    units: int,
    resampling: Resampling,
    what: str = "bootstrap",
) -> dict[str, Any]:
    """95 % interval [low, high] of every figure, nested as `figures` nests them.

    `figures` answers None for a draw that leaves nothing to measure; such a draw is passed over.
    """
    drawn = tqdm(draws(units, resampling), what, resampling.replicates, unit="draw", leave=False)
    samples = [sample for sample in map(figures, drawn) if sample is not None]
    return {key: _spread([sample[key] for sample in samples]) for key in (samples or [{}])[0]}


def _spread(samples: Sequence[Any]) -> dict[str, Any] | list[float]:
    """Dictionaries are gone down into, numbers become [low, high]."""
    if isinstance(samples[0], Mapping):
        return {key: _spread([sample[key] for sample in samples]) for key in samples[0]}
    return [float(bound) for bound in np.percentile(samples, PERCENTILES)]
