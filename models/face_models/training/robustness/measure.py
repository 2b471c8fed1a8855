"""What occlusion, light, noise, blur, few pixels and compression cost: pairs with one photo spoilt.

The second photo of every pair is spoilt in every way of conditions.py, the first stays as it is.
What a photo suffers depends on nothing but its name, the condition, the severity and the seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import CROP_PX
from face_models.engine import Vectors
from face_models.photo import Rgb
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation.evaluate import FAILED_DIFFERENT, FAILED_SAME
from face_models.training.evaluation.protocol import Pair
from face_models.training.evaluation.verification import verify
from face_models.training.robustness.photos import Networks, Photos, Treatment

RESAMPLES: Final = 200
BATCH: Final = 32
NO_FACE: Final = np.full((CROP_PX, CROP_PX, 3), 127, dtype=np.uint8)

Scores = NDArray[np.float64]
Embedded = dict[str, dict[str, Vectors]]  # photo -> network -> (treatments, dimensions)


@dataclass(frozen=True)
class Figure:
    """One network under one treatment; shares 0..1, the interval holds 95 % of the resamples."""

    auc: float
    auc_drop: float
    auc_drop_interval: tuple[float, float]
    eer: float
    tar_at_far: dict[str, float]
    failures: int  # spoilt photos without a usable face; their pairs count as errors


@dataclass(frozen=True)
class Robustness:
    """`figures[network][i]` and `resampled_drops[network][i]` speak of `treatments[i]`."""

    treatments: Sequence[Treatment]
    pairs: int
    figures: Mapping[str, Sequence[Figure]]
    resampled_drops: Mapping[str, Scores]  # (treatments, RESAMPLES), the same pairs in each


def identity_pairs(faces: FaceSet, count: int, seed: int) -> list[Pair]:
    """`count` pairs of photos of one person and as many of two, drawn from known identities."""
    random = np.random.default_rng(seed)
    people = [np.flatnonzero(faces.identity == one) for one in range(faces.identities)]
    chosen = random.integers(len(people), size=count)
    genuine = [random.choice(people[one], 2, replace=False) for one in chosen]
    known = np.flatnonzero(faces.identity != NO_IDENTITY)
    drawn = random.choice(known, (4 * count, 2))
    strangers = drawn[faces.identity[drawn[:, 0]] != faces.identity[drawn[:, 1]]][:count]
    return [
        Pair(0, str(a), str(b), same)
        for pairs, same in ((genuine, True), (strangers, False))
        for a, b in pairs
    ]


def some_pairs(pairs: Sequence[Pair], limit: int, seed: int) -> list[Pair]:
    """`limit` pairs of either kind, drawn at random."""
    random = np.random.default_rng(seed)
    kinds = [[pair for pair in pairs if pair.same is same] for same in (True, False)]
    return [kind[n] for kind in kinds for n in sorted(random.permutation(len(kind))[:limit])]


def measure(
    photos: Photos,
    pairs: Sequence[Pair],
    networks: Networks,
    chosen: Sequence[Treatment],
    seed: int = 0,
) -> Robustness:
    """All treatments of all pairs by all networks; `chosen` starts with the clean photo."""
    first = _embed_all(photos, sorted({pair.a for pair in pairs}), networks, chosen[:1])
    second = _embed_all(photos, sorted({pair.b for pair in pairs}), networks, chosen)
    same = np.array([pair.same for pair in pairs])
    figures: dict[str, list[Figure]] = {}
    drops: dict[str, Scores] = {}
    for name in next(iter(first.values())):
        scores = np.stack(
            [_similarities(pairs, first, second, name, row) for row in range(len(chosen))]
        )
        resampled = resampled_aucs(scores, same, seed)
        drops[name] = resampled[0] - resampled
        lost = [
            sum(np.isnan(v[name][row, 0]) for v in second.values()) for row in range(len(chosen))
        ]
        figures[name] = _figures(scores, same, drops[name], lost)
    return Robustness(chosen, len(pairs), figures, drops)


def resampled_aucs(scores: Scores, same: NDArray[np.bool_], seed: int) -> Scores:
    """AUC of each row of `scores` (n, pairs) on the same `RESAMPLES` draws of pairs."""
    random = np.random.default_rng(seed)
    genuine, impostor = np.flatnonzero(same), np.flatnonzero(~same)
    answer = np.empty((len(scores), RESAMPLES))
    for column in range(RESAMPLES):
        mates, others = random.choice(genuine, len(genuine)), random.choice(impostor, len(impostor))
        answer[:, column] = [auc(row[mates], row[others]) for row in scores]
    return answer


def auc(genuine: Scores, impostor: Scores) -> float:
    """P(genuine > impostor) + P(equal) / 2 (Mann and Whitney 1947)."""
    ranked = np.sort(impostor)
    below = np.searchsorted(ranked, genuine, "left") + np.searchsorted(ranked, genuine, "right")
    return float(below.mean() / 2 / len(ranked))


def _figures(
    scores: Scores, same: NDArray[np.bool_], drops: Scores, failures: Sequence[int]
) -> list[Figure]:
    one_fold = np.zeros(len(same), dtype=np.int64)
    answers = [verify(row, same, one_fold) for row in scores]
    return [
        Figure(
            auc=answer.auc,
            auc_drop=answers[0].auc - answer.auc,
            auc_drop_interval=interval(resampled),
            eer=answer.eer,
            tar_at_far=answer.tar_at_far,
            failures=int(lost),
        )
        for answer, resampled, lost in zip(answers, drops, failures, strict=True)
    ]


def interval(resampled: Scores) -> tuple[float, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def _embed_all(
    photos: Photos, names: Sequence[str], networks: Networks, chosen: Sequence[Treatment]
) -> Embedded:
    return {
        name: _embed(list(photos.crops(name, chosen)), networks)
        for name in tqdm(names, f"photos x {len(chosen)}", unit="photo")
    }


def _embed(crops: Sequence[Rgb | None], networks: Networks) -> dict[str, Vectors]:
    """NaN where there was no face."""
    usable = [row for row, crop in enumerate(crops) if crop is not None]
    stacked = np.stack([crop if crop is not None else NO_FACE for crop in crops])
    parts = [networks(stacked[at : at + BATCH]) for at in range(0, len(crops), BATCH)]
    answer = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    lost = np.setdiff1d(np.arange(len(crops)), usable)
    for vectors in answer.values():
        vectors[lost] = np.nan
    return answer


def _similarities(
    pairs: Sequence[Pair], first: Embedded, second: Embedded, network: str, row: int
) -> Scores:
    scores = [float(first[p.a][network][0] @ second[p.b][network][row]) for p in pairs]
    failed = [FAILED_SAME if pair.same else FAILED_DIFFERENT for pair in pairs]
    return np.where(np.isnan(scores), failed, scores)
