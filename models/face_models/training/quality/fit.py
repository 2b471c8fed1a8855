"""Fit the quality's curves: how likely a face is found among the other photos of its person.

For every probe p, the share y of its mates (other photos of the person, as they are) whose
similarity reaches the threshold of FMR 1e-3 is explained by

    y ~ 1 / (1 + exp(-(log_odds - sum of losses)))

with each measure's loss piecewise linear between the knots below. All steps from knot to knot are
at least 0, so that no curve ever rewards a worse measure. Every step has its price (a lasso): one
that only follows chance is not worth it. The detector's score comes last, for what the flaws that
it suffers from do not explain: else it would stand for them all, and a photo that is noisy or
half covered could not be told so. What the detector hardly ever lets through cannot be measured
and is stated instead: a face without any detail, of a few grey levels or drowned in noise matches
nobody.
Projected gradient with Nesterov's momentum: convex, a few seconds of NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.quality import MEASURES, Curve, QualityModel
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.quality.probes import AS_IT_IS, Probes

FMR: Final = 1e-3
PRICE: Final = 5e-4  # of a log-odds of loss, in mean log-likelihood
RIDGE: Final = 1e-4
STEPS: Final = 2000
DIGITS: Final = 3

KNOTS: Final[dict[str, tuple[float, ...]]] = {  # from harmless to worst
    "sharpness": (0.5, 0.4, 0.3, 0.2, 0.1),
    "noise": (2.5, 4, 7, 12),  # below, fine texture of sharp photos; training faces are softer
    "under_exposure": (0.05, 0.2, 0.5, 0.9),
    "over_exposure": (0.02, 0.1, 0.3, 0.7),
    "dynamic_range": (6.5, 5.5, 4.5, 3.5, 2),
    "inter_eye_distance": (32, 24, 16, 12, 8, 5),
    "pose_yaw": (8, 15, 25, 40),
    "pose_pitch": (10, 20, 40),
    "pose_roll": (30, 60, 120, 180),
    "face_occlusion": (0.03, 0.08, 0.15, 0.25, 0.4),
    "detection_confidence": (0.85, 0.8, 0.75, 0.7, 0.65, 0.58, 0.5, 0.42),
}
LAST: Final = "detection_confidence"

BLANK: Final = ("sharpness", "dynamic_range", "noise")
BLANK_SHARE: Final = 0.01  # of the probes: what each of the statements weighs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """What became of every probe's comparisons with its mates, all (n,); NaN without mates."""

    threshold: float
    matched: Floats  # share of mates at or above the threshold
    similarity: Floats  # mean over the mates


def outcomes(probes: Probes, faces: FaceSet) -> Outcomes:
    """Compare every probe with all other photos of its person that are as they were."""
    identity = faces.identity[probes.face]
    mates = np.flatnonzero((probes.flaw == AS_IT_IS) & (identity != NO_IDENTITY))
    similarity = probes.vectors @ probes.vectors[mates].T
    same = identity[:, None] == identity[mates][None]
    threshold = float(np.quantile(similarity[mates][~same[mates]], 1 - FMR))
    genuine = same & (probes.face[:, None] != probes.face[mates][None])
    count = np.where(genuine.any(axis=1), genuine.sum(axis=1), np.nan)
    matched = ((similarity >= threshold) & genuine).sum(axis=1) / count
    return Outcomes(threshold, matched, (similarity * genuine).sum(axis=1) / count)


def fit_quality(measured: Floats, matched: Floats) -> QualityModel:
    """The model of probes with measures (n, 11) and shares of mates that they matched (n,)."""
    measured, matched = _with_blanks(measured, matched)
    steps = {name: _steps(measured[:, column], KNOTS[name]) for column, name in enumerate(MEASURES)}
    flaws = [name for name in MEASURES if name != LAST]
    every_flaw = np.concatenate([steps[name] for name in flaws], axis=1)
    _, losses = _monotone_logistic(every_flaw, matched, np.zeros(len(matched)))
    log_odds, last_losses = _monotone_logistic(steps[LAST], matched, every_flaw @ losses)
    ends = np.cumsum([len(KNOTS[name]) - 1 for name in flaws])[:-1]
    rises = dict(zip(flaws, np.split(losses, ends), strict=True)) | {LAST: last_losses}
    curves = {name: _curve(KNOTS[name], rises[name]) for name in MEASURES}
    return QualityModel(round(log_odds, DIGITS), curves)


def _with_blanks(measured: Floats, matched: Floats) -> tuple[Floats, Floats]:
    """Probes that are flawless but for one thing, at its worst, and match nobody."""
    blanks = np.tile([KNOTS[name][0] for name in MEASURES], (len(BLANK), 1)).astype(np.float64)
    for row, name in enumerate(BLANK):
        blanks[row, MEASURES.index(name)] = KNOTS[name][-1]
    blanks = blanks.repeat(max(round(BLANK_SHARE * len(measured)), 1), axis=0)
    return np.concatenate([measured, blanks]), np.append(matched, np.zeros(len(blanks)))


def _steps(values: Floats, knots: tuple[float, ...]) -> Floats:
    """Share of the way from each knot to the next, (n, knots - 1), in 0..1."""
    start, end = np.array(knots[:-1]), np.array(knots[1:])
    return np.asarray(np.clip((values[:, None] - start) / (end - start), 0, 1))


def _monotone_logistic(steps: Floats, matched: Floats, lost: Floats) -> tuple[float, Floats]:
    """Intercept and non-negative losses that make matches most likely, beside what is `lost`."""
    inputs = np.column_stack([np.ones(len(steps)), -steps])
    least = np.full(inputs.shape[1], 0.0)
    least[0] = -np.inf
    price, ridge = (np.full(inputs.shape[1], each) for each in (PRICE, RIDGE))
    price[0] = ridge[0] = 0
    rate = 1 / (np.linalg.norm(inputs, 2) ** 2 / (4 * len(inputs)) + RIDGE)
    now = np.zeros(inputs.shape[1])
    ahead, momentum = now, 1.0
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(lost - inputs @ ahead))
        gradient = inputs.T @ (expected - matched) / len(inputs) + ridge * ahead + price
        after = np.maximum(ahead - rate * gradient, least)
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + (momentum - 1) / next_momentum * (after - now)
        now, momentum = after, next_momentum
    return float(now[0]), now[1:]


def _curve(knots: tuple[float, ...], rises: Floats) -> Curve:
    points = sorted(zip(knots, np.cumsum([0, *rises]).round(DIGITS).tolist(), strict=True))
    return Curve(tuple(knot for knot, _ in points), tuple(loss for _, loss in points))
