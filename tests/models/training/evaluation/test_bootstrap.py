"""Bootstrap over people: what is drawn, how pairs count, how wide intervals come out."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.evaluation.bootstrap import Resampling, draws, intervals, pair_weights

pytestmark = pytest.mark.training


def test_every_draw_has_as_many_people_as_there_are() -> None:
    assert [counts.sum() for counts in draws(7, Resampling(5))] == [7] * 5


def test_a_pair_counts_as_often_as_its_people_were_drawn() -> None:
    counts = np.array([0.0, 1.0, 2.0, 3.0])
    weights = pair_weights(counts, np.array([3, 2, 1, 0]), np.array([3, 3, 2, 3]))
    assert weights.tolist() == [3, 6, 2, 0]


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(size=400)
    told = intervals(
        lambda counts: {"mean": float(np.average(values, weights=counts))}, 400, Resampling(4000)
    )
    half = 1.96 * values.std() / np.sqrt(400)
    assert told["mean"] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.01)


def test_people_with_many_pairs_widen_the_interval() -> None:
    """Four people with a hundred equal pairs each are four observations, not four hundred."""
    right = np.repeat([0.0, 1.0, 1.0, 1.0], 100)
    person = np.repeat(np.arange(4), 100)
    by_person = intervals(
        lambda counts: {"share": float(np.average(right, weights=counts[person]))},
        4,
        Resampling(1000),
    )
    by_pair = intervals(
        lambda counts: {"share": float(np.average(right, weights=counts))}, 400, Resampling(1000)
    )
    assert np.ptp(by_person["share"]) > 5 * np.ptp(by_pair["share"])


def test_draws_that_leave_nothing_to_measure_are_passed_over() -> None:
    told = intervals(lambda counts: {"x": 1.0} if counts[0] else None, 3, Resampling(50))
    assert told == {"x": [1.0, 1.0]}
    assert intervals(lambda counts: None, 3, Resampling(5)) == {}
