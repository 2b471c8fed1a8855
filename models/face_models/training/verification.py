"""One-to-one verification figures, as ISO/IEC 19795 and the LFW protocol define them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Verification:
    """All figures are shares, 0..1.

    `accuracy` is the mean over the folds, each with the threshold that was best on the others;
    `tar_at_far` maps a false accept rate to the share of same-person pairs accepted at it.
    """

    pairs: int
    accuracy: float
    accuracy_std: float
    auc: float
    eer: float
    tar_at_far: dict[str, float]


FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3)


def verify(scores: Scores, same: Flags, folds: NDArray[np.int64]) -> Verification:
    """Figures of pairs with similarity `scores`, truth `same` and fold number."""
    accuracies = [_accuracy_of_fold(scores, same, folds == fold) for fold in np.unique(folds)]
    far, tar = roc(scores, same)
    return Verification(
        pairs=len(scores),
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        auc=float(np.trapezoid(tar, far)),
        eer=equal_error_rate(far, tar),
        tar_at_far={f"{rate:g}": _tar_at(far, tar, rate) for rate in FALSE_ACCEPT_RATES},
    )


def roc(scores: Scores, same: Flags) -> tuple[Scores, Scores]:
    """False and true accept rates at every distinct threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], same[order]
    last_of_tie = np.append(np.diff(ranked) != 0, True)
    true_accepts = np.cumsum(truth)[last_of_tie]
    false_accepts = np.cumsum(~truth)[last_of_tie]
    far = np.concatenate([[0.0], false_accepts / max(1, (~same).sum())])
    tar = np.concatenate([[0.0], true_accepts / max(1, same.sum())])
    return far, tar


def equal_error_rate(far: Scores, tar: Scores) -> float:
    """Where false accepts equal false rejects, on the straight line between two ROC points."""
    gap = far - (1 - tar)
    after = int(np.argmax(gap >= 0))
    before = max(0, after - 1)
    step = gap[after] - gap[before]
    share = 0.0 if step == 0 else -gap[before] / step
    return float(far[before] + share * (far[after] - far[before]))


def best_threshold(scores: Scores, same: Flags) -> float:
    """The similarity at and above which calling a pair the same person errs least often."""
    order = np.argsort(-scores, kind="stable")
    gain = np.cumsum(np.where(same[order], 1, -1))
    best = int(np.argmax(gain))
    ranked = scores[order]
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    return float((ranked[best] + below) / 2)


def _accuracy_of_fold(scores: Scores, same: Flags, fold: Flags) -> float:
    others = ~fold if not fold.all() else fold
    threshold = best_threshold(scores[others], same[others])
    return float(((scores[fold] >= threshold) == same[fold]).mean())


def _tar_at(far: Scores, tar: Scores, rate: float) -> float:
    return float(tar[far <= rate].max())
