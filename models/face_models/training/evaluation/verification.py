"""One-to-one verification figures, as ISO/IEC 19795 and the LFW protocol define them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, roc_curve  # type: ignore[import-untyped]

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
Weights = NDArray[np.float64]

FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3)
RARE_FALSE_ACCEPT_RATE = 1e-4  # told where at least one different-person pair may pass at it


@dataclass(frozen=True)
class Verification:
    """All figures but the thresholds are shares, 0..1.

    `accuracy` is the mean over the folds, each with the threshold that was best on the others;
    `tar_at_far` maps a false accept rate to the share of same-person pairs accepted at it,
    `threshold_at_far` to the similarity from which on a pair is accepted then.
    """

    pairs: int
    accuracy: float
    accuracy_std: float
    auc: float
    eer: float
    tar_at_far: dict[str, float]
    threshold_at_far: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """False and true accept rates at every distinct threshold, from (0, 0) to (1, 1)."""

    far: Scores
    tar: Scores
    threshold: Scores  # accepted from here on; the first accepts nothing

    def at(self, rate: float) -> int:
        """The last point whose false accept rate is at most `rate`."""
        return int(np.searchsorted(self.far, rate, side="right")) - 1


def verify(
    scores: Scores, same: Flags, folds: NDArray[np.int64], weights: Weights | None = None
) -> Verification:
    """Figures of pairs with similarity `scores`, truth `same` and fold number.

    `weights` tell how often each pair counts; once, where there are none.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    accuracies = [
        _accuracy_of_fold(scores, same, folds == fold, weights)
        for fold in np.unique(folds[weights > 0])
    ]
    points = curve(scores, same, weights)
    rates = _rates(int((~same).sum()))
    return Verification(
        pairs=len(scores),
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        auc=float(auc(points.far, points.tar)),
        eer=equal_error_rate(points.far, points.tar),
        tar_at_far={f"{rate:g}": float(points.tar[points.at(rate)]) for rate in rates},
        threshold_at_far={f"{rate:g}": _threshold(points, rate) for rate in rates},
    )


def curve(scores: Scores, same: Flags, weights: Weights | None = None) -> Curve:
    """The ROC with its thresholds, tied scores together; both kinds of pairs must be there."""
    return Curve(*roc_curve(same, scores, sample_weight=weights, drop_intermediate=False))


def roc(scores: Scores, same: Flags) -> tuple[Scores, Scores]:
    """False and true accept rates at every distinct threshold, from (0, 0) to (1, 1)."""
    points = curve(scores, same)
    return points.far, points.tar


def equal_error_rate(far: Scores, tar: Scores) -> float:
    """Where false accepts equal false rejects, on the straight line between two ROC points."""
    gap = far - (1 - tar)
    after = int(np.argmax(gap >= 0))
    before = max(0, after - 1)
    step = gap[after] - gap[before]
    share = 0.0 if step == 0 else -gap[before] / step
    return float(far[before] + share * (far[after] - far[before]))


def best_threshold(scores: Scores, same: Flags, weights: Weights | None = None) -> float:
    """The similarity at and above which calling a pair the same person errs least often."""
    weights = np.ones(len(scores)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    gain = np.cumsum(np.where(same, weights, -weights)[order])
    best = int(np.argmax(gain))
    ranked = scores[order]
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    return float((ranked[best] + below) / 2)


def _rates(impostors: int) -> tuple[float, ...]:
    rare = impostors * RARE_FALSE_ACCEPT_RATE >= 1
    return (*FALSE_ACCEPT_RATES, RARE_FALSE_ACCEPT_RATE) if rare else FALSE_ACCEPT_RATES


def _threshold(points: Curve, rate: float) -> float:
    """Of the last point within `rate`; just above the best impostor where that accepts nobody."""
    point = points.at(rate)
    nobody = float(np.nextafter(points.threshold[1], np.inf))
    return nobody if point == 0 else float(points.threshold[point])


def _accuracy_of_fold(scores: Scores, same: Flags, fold: Flags, weights: Weights) -> float:
    others = ~fold if not fold.all() else fold
    threshold = best_threshold(scores[others], same[others], weights[others])
    right = (scores[fold] >= threshold) == same[fold]
    return float(np.average(right, weights=weights[fold]))
