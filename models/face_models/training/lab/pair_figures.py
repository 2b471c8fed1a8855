"""LFW of the studies' networks: AUC, EER and accuracy, and heatmap minus base over drawn people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.protocol import Pair, people_of
from face_models.training.evaluation.verification import Curve, Scores, Weights, curve, verify
from face_models.training.history import mean_and_spread
from face_models.training.lab import lfw
from face_models.training.lab.arms import BASE, HEATMAP
from face_models.training.lab.bench import Bench, Trial
from face_models.training.lab.settings import Study

FIGURES = ("auc", "eer", "accuracy")
POINTS_KEPT = 200
Numbers = dict[str, Any]
Scored = Mapping[tuple[str, str], Mapping[int, Scores]]  # backbone, arm -> seed -> pairs


def lfw_document(bench: Bench, study: Study) -> Numbers:
    pairs = lfw.pairs_of(bench.data_of(study) / bench.config.lfw)
    scored = {
        (backbone, arm): {
            seed: bench.lfw_scores(Trial(study, backbone, arm, seed)) for seed in study.seeds
        }
        for backbone in study.backbones
        for arm in (BASE, HEATMAP)
    }
    same = np.array([pair.same for pair in pairs])
    folds = np.array([pair.fold for pair in pairs])
    return {
        "study": study.name,
        "pairs": len(pairs),
        "networks": {
            backbone: {arm: _network(scored[backbone, arm], same, folds) for arm in (BASE, HEATMAP)}
            for backbone in study.backbones
        },
        "heatmap_minus_base": _differences(bench, study.backbones, scored, pairs),
    }


def _network(
    by_seed: Mapping[int, Scores], same: np.ndarray[Any, Any], folds: np.ndarray[Any, Any]
) -> Numbers:
    verified = [verify(scores, same, folds) for scores in by_seed.values()]
    first = next(iter(by_seed.values()))
    return {
        **{name: mean_and_spread([getattr(one, name) for one in verified]) for name in FIGURES},
        "roc": _thinned(curve(first, same)),
    }


def _thinned(points: Curve) -> dict[str, list[float]]:
    """Of the first seed, for the figure."""
    kept = np.unique(np.linspace(0, len(points.far) - 1, POINTS_KEPT).astype(int))
    return {
        "far": [round(float(one), 5) for one in points.far[kept]],
        "tar": [round(float(one), 5) for one in points.tar[kept]],
    }


def _differences(
    bench: Bench, backbones: Sequence[str], scored: Scored, pairs: Sequence[Pair]
) -> Numbers:
    """AUC of heatmap minus base, mean over the seeds, with the interval of drawn people."""
    measure = _auc_differences(backbones, scored, pairs)
    people = _persons(pairs)
    units = int(people.max()) + 1
    resampling = bootstrap.Resampling(bench.config.bootstrap_draws, bench.config.seed)

    def drawn(counts: Weights) -> Numbers | None:
        weights = bootstrap.pair_weights(counts, people[:, 0], people[:, 1])
        same = np.array([pair.same for pair in pairs])
        both_kinds = weights[same].sum() > 0 and weights[~same].sum() > 0
        return measure(weights) if both_kinds else None

    return {
        "auc": measure(np.ones(len(pairs))),
        "auc_interval": bootstrap.intervals(drawn, units, resampling, "LFW bootstrap"),
    }


def _auc_differences(
    backbones: Sequence[str], scored: Scored, pairs: Sequence[Pair]
) -> Callable[[Weights], Numbers]:
    same = np.array([pair.same for pair in pairs])

    def measure(weights: Weights) -> Numbers:
        return {
            backbone: float(
                np.mean(
                    [
                        _auc(scores, same, weights)
                        - _auc(scored[backbone, BASE][seed], same, weights)
                        for seed, scores in scored[backbone, HEATMAP].items()
                    ]
                )
            )
            for backbone in backbones
        }

    return measure


def _auc(scores: Scores, same: np.ndarray[Any, Any], weights: Weights) -> float:
    counted = weights > 0
    points = curve(scores[counted], same[counted], weights[counted])
    return float(np.trapezoid(points.tar, points.far))


def _persons(pairs: Sequence[Pair]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(pairs, 2): who is on the photos; each photo is its own person where folders do not tell."""
    people = people_of(pairs) or {name: name for pair in pairs for name in (pair.a, pair.b)}
    number = {person: place for place, person in enumerate(sorted(set(people.values())))}
    return np.array([[number[people[pair.a]], number[people[pair.b]]] for pair in pairs])
