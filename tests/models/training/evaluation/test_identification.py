"""Open-set identification figures on hand-made similarities."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.identification import (
    NOBODY,
    Outcomes,
    fpir_threshold,
    identify,
    intervals,
    misses_by_alarms,
    search,
)

pytestmark = pytest.mark.training


def outcomes(ranks: list[int], mate_scores: list[float], alarms: list[float]) -> Outcomes:
    mated, non_mated = np.arange(len(ranks)), len(ranks) + np.arange(len(alarms))
    return Outcomes(np.array(ranks), np.array(mate_scores), np.array(alarms), mated, non_mated)


def test_a_mate_ranks_behind_everybody_who_is_as_similar() -> None:
    gallery = np.eye(3, dtype=np.float32)
    probes = np.array([[1, 0, 0], [0.5, 0.1, 0.9], [0.6, 0.6, 0]], dtype=np.float32)
    rank, mate_score, best = search(probes, gallery, np.array([0, 0, 0]))
    assert rank.tolist() == [1, 2, 2]
    assert mate_score.tolist() == pytest.approx([1, 0.5, 0.6])
    assert best.tolist() == pytest.approx([1, 0.9, 0.6])


def test_what_was_not_enrolled_is_never_found_and_raises_no_alarm() -> None:
    gallery = np.array([[1, 0], [np.nan, np.nan]], dtype=np.float32)
    probes = np.array([[1, 0], [np.nan, np.nan]], dtype=np.float32)
    _, mate_of_failed, _ = search(probes, gallery, np.array([1, 0]))
    assert mate_of_failed.tolist() == [NOBODY, NOBODY]
    *_, best = search(probes, gallery, np.array([-1, -1]))
    assert best.tolist() == [1, NOBODY]
    found = identify(outcomes([1, 1], [0.9, NOBODY], [0.1] * 10))
    assert found.rank_1 == 0.5
    assert found.fnir_at_fpir["0.1"] == 0.5


def test_the_cmc_counts_mates_by_rank() -> None:
    found = identify(outcomes([1, 1, 2, 5, 6], [0.9] * 5, [0.1] * 10))
    assert (found.rank_1, found.rank_5) == (0.4, 0.8)
    assert found.cmc[:6] == pytest.approx([0.4, 0.6, 0.6, 0.6, 0.8, 1])


def test_the_threshold_lets_at_most_the_wanted_share_of_strangers_raise_an_alarm() -> None:
    alarms = np.linspace(0, 0.99, 100)
    threshold = fpir_threshold(alarms, np.ones(100), 0.1)
    assert (alarms >= threshold).mean() == pytest.approx(0.1)


def test_strangers_who_are_as_similar_raise_the_alarm_together_or_not_at_all() -> None:
    alarms = np.array([0.9, 0.5, 0.5, 0.5, *[0.1] * 6])
    assert fpir_threshold(alarms, np.ones(10), 0.3) == 0.9
    assert fpir_threshold(alarms, np.ones(10), 0.4) == 0.5
    assert fpir_threshold(alarms, np.ones(10), 0.05) > 0.9


def test_a_mate_below_the_threshold_or_not_among_the_candidates_is_a_miss() -> None:
    alarms = [0.5, *[0.1] * 9]
    found = identify(outcomes([1, 1, 6], [0.6, 0.4, 0.6], alarms))
    assert found.threshold_at_fpir == {"0.1": 0.5}
    assert found.fnir_at_fpir["0.1"] == pytest.approx(2 / 3)


def test_a_rate_is_told_only_where_one_false_alarm_may_happen() -> None:
    assert set(identify(outcomes([1], [1.0], [0.1] * 99)).fnir_at_fpir) == {"0.1"}
    assert set(identify(outcomes([1], [1.0], [0.1] * 100)).fnir_at_fpir) == {"0.01", "0.1"}


def test_weights_count_as_copies_do() -> None:
    random = np.random.default_rng(4)
    ranks, scores, alarms = random.integers(1, 9, 30), random.random(30), random.random(40)
    copies, alarm_copies = random.integers(0, 3, 30), random.integers(0, 3, 40)
    weighted = identify(outcomes(ranks, scores, alarms), copies * 1.0, alarm_copies * 1.0)
    copied = identify(
        outcomes(
            np.repeat(ranks, copies), np.repeat(scores, copies), np.repeat(alarms, alarm_copies)
        )
    )
    assert weighted.cmc == pytest.approx(copied.cmc)
    assert weighted.threshold_at_fpir == copied.threshold_at_fpir
    assert weighted.fnir_at_fpir == pytest.approx(copied.fnir_at_fpir)


def test_the_curve_agrees_with_the_table() -> None:
    random = np.random.default_rng(5)
    searched = outcomes(random.integers(1, 9, 300), random.random(300), random.random(200))
    fpir, fnir = misses_by_alarms(searched)
    for rate, misses in identify(searched).fnir_at_fpir.items():
        assert fnir[np.searchsorted(fpir, float(rate), side="right") - 1] == pytest.approx(misses)


def test_intervals_hold_the_figures_and_depend_on_the_seed_alone() -> None:
    random = np.random.default_rng(6)
    searched = outcomes(random.integers(1, 4, 200), random.random(200), random.random(200))
    found = identify(searched)
    told = intervals(searched, Resampling(200, seed=1))
    assert told == intervals(searched, Resampling(200, seed=1))
    assert told != intervals(searched, Resampling(200, seed=2))
    assert told["rank_1"][0] < found.rank_1 < told["rank_1"][1]
    low, high = told["fnir_at_fpir"]["0.1"]
    assert low < found.fnir_at_fpir["0.1"] < high
