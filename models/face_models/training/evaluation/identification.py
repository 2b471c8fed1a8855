"""One-to-many figures of an open-set search, as ISO/IEC 19795-1 defines them.

Every probe is compared with the whole gallery. A mated search is of somebody enrolled, a non-mated
one of somebody who is not.

    rank-k        share of mated searches whose mate is among the k most similar people
    FPIR          share of non-mated searches with any candidate at or above the threshold
    FNIR          share of mated searches without the mate among the candidates at or above it

A probe that cannot be enrolled finds nobody: a miss if mated, no false alarm if not. A person whose
gallery photo cannot be enrolled is never found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.bootstrap import Resampling

CANDIDATES = 5  # people in a list of candidates, as the servers answer by default
CMC_RANKS = 20
FALSE_POSITIVE_RATES = (1e-2, 1e-1)
NOBODY = -np.inf  # similarity of what could not be enrolled

Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """What each search came to; m mated and n non-mated ones, their people numbered together."""

    rank: Numbers  # (m,) of the mate, 1 is best; people as similar as the mate come before it
    mate_score: Scores  # (m,)
    alarm_score: Scores  # (n,) of the most similar person enrolled
    mated_person: Numbers  # (m,)
    non_mated_person: Numbers  # (n,)


@dataclass(frozen=True)
class Identification:
    """Shares 0..1; `cmc[k - 1]` is rank-k.

    `fnir_at_fpir` maps a false positive identification rate to the misses at the lowest threshold
    that keeps it, `threshold_at_fpir` to that similarity. A rate is left out where it would allow
    less than one false alarm.
    """

    rank_1: float
    rank_5: float
    cmc: list[float]
    fnir_at_fpir: dict[str, float]
    threshold_at_fpir: dict[str, float]


def search(probes: Vectors, gallery: Vectors, mates: Numbers) -> tuple[Numbers, Scores, Scores]:
    """Rank of the mate, its similarity, and the best similarity of each search, (n,) each.

    `probes` (n, d) and `gallery` (g, d) are unit vectors, NaN where not enrolled; `mates` (n,) is
    the mate's row in the gallery, -1 for non-mated searches, whose first two answers are void.
    """
    scores = np.nan_to_num(probes @ gallery.T, nan=NOBODY, neginf=NOBODY)
    rows = np.arange(len(scores))
    mate_score = scores[rows, mates]
    rank = (scores >= mate_score[:, None]).sum(axis=1)
    return rank, mate_score.astype(np.float64), scores.max(axis=1).astype(np.float64)


def identify(
    outcomes: Outcomes,
    mated_weights: Scores | None = None,
    non_mated_weights: Scores | None = None,
) -> Identification:
    """Figures over all searches; weights tell how often each counts, once where there are none."""
    mated = np.ones(len(outcomes.rank)) if mated_weights is None else mated_weights
    non_mated = np.ones(len(outcomes.alarm_score))
    non_mated = non_mated if non_mated_weights is None else non_mated_weights
    found = outcomes.mate_score > NOBODY
    cmc = [
        float(np.average(found & (outcomes.rank <= rank), weights=mated))
        for rank in range(1, CMC_RANKS + 1)
    ]
    thresholds = {
        f"{rate:g}": fpir_threshold(outcomes.alarm_score, non_mated, rate)
        for rate in FALSE_POSITIVE_RATES
        if rate * len(outcomes.alarm_score) >= 1
    }
    return Identification(
        rank_1=cmc[0],
        rank_5=cmc[4],
        cmc=cmc,
        fnir_at_fpir={rate: fnir(outcomes, at, mated) for rate, at in thresholds.items()},
        threshold_at_fpir=thresholds,
    )


def fpir_threshold(alarms: Scores, weights: Scores, rate: float) -> float:
    """The lowest similarity such that at most `rate` of the non-mated searches reach it."""
    order = np.argsort(-alarms, kind="stable")
    ranked = alarms[order]
    reached = np.cumsum(weights[order]) / weights.sum()
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    allowed = np.flatnonzero(last_of_tie & (reached <= rate))
    if len(allowed) == 0:
        return float(np.nextafter(ranked[0], np.inf))
    return float(ranked[allowed[-1]])


def fnir(outcomes: Outcomes, threshold: float, weights: Scores) -> float:
    """Share of mated searches whose mate is not among the candidates at or above the threshold."""
    hit = (outcomes.rank <= CANDIDATES) & (outcomes.mate_score >= threshold)
    return float(1 - np.average(hit, weights=weights))


def misses_by_alarms(outcomes: Outcomes) -> tuple[Scores, Scores]:
    """FPIR and FNIR at every threshold that a non-mated search reaches, the strictest first."""
    listed = outcomes.rank <= CANDIDATES
    hits = np.sort(outcomes.mate_score[listed])
    thresholds = np.sort(outcomes.alarm_score[outcomes.alarm_score > NOBODY])[::-1]
    fpir = np.arange(1, len(thresholds) + 1) / len(outcomes.alarm_score)
    found = len(hits) - np.searchsorted(hits, thresholds)
    return fpir, 1 - found / len(listed)


def intervals(outcomes: Outcomes, resampling: Resampling) -> dict[str, Any]:
    """95 % intervals over the people searched for; the gallery stays as it is."""
    mated, non_mated = outcomes.mated_person, outcomes.non_mated_person

    def figures(counts: Scores) -> dict[str, Any] | None:
        if counts[mated].sum() == 0 or counts[non_mated].sum() == 0:
            return None
        found = identify(outcomes, counts[mated], counts[non_mated])
        return {
            "rank_1": found.rank_1,
            "rank_5": found.rank_5,
            "fnir_at_fpir": found.fnir_at_fpir,
        }

    people = int(max(mated.max(), non_mated.max())) + 1
    return bootstrap.intervals(figures, people, resampling, "1:N bootstrap")
