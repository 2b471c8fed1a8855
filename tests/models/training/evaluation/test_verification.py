"""Verification figures on hand-made similarities."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.evaluation.verification import (
    best_threshold,
    equal_error_rate,
    roc,
    verify,
)


def _alternating_folds(count: int) -> np.ndarray:
    return np.arange(count) % 2


def test_separable_scores_are_perfect() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1, 0.0, -0.1])
    same = np.arange(8) < 4
    result = verify(scores, same, _alternating_folds(8))
    assert (result.accuracy, result.auc, result.eer) == (1.0, 1.0, 0.0)
    assert set(result.tar_at_far.values()) == {1.0}


def test_scores_without_information_are_no_better_than_chance() -> None:
    result = verify(np.zeros(10), np.arange(10) < 5, _alternating_folds(10))
    assert result.auc == pytest.approx(0.5)
    assert result.eer == pytest.approx(0.5)
    assert result.tar_at_far["0.001"] == 0


def test_auc_is_the_share_of_rightly_ordered_pairs() -> None:
    random = np.random.default_rng(2)
    same = random.random(200) < 0.5
    scores = random.normal(size=200) + same
    genuine, impostor = scores[same], scores[~same]
    expected = (genuine[:, None] > impostor[None]).mean()
    assert verify(scores, same, _alternating_folds(200)).auc == pytest.approx(expected)


def test_tied_scores_enter_the_roc_together() -> None:
    far, tar = roc(np.array([0.5, 0.5, 0.5]), np.array([True, False, True]))
    assert far.tolist() == [0, 1]
    assert tar.tolist() == [0, 1]


def test_the_equal_error_rate_lies_where_both_errors_meet() -> None:
    scores = np.array([0.9, 0.7, 0.5, 0.3, 0.8, 0.4, 0.2, 0.1])
    same = np.arange(8) < 4
    assert equal_error_rate(*roc(scores, same)) == pytest.approx(0.25)


def test_the_best_threshold_errs_least() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.6, 0.1])
    same = np.array([True, True, True, False, False])
    threshold = best_threshold(scores, same)
    assert ((scores >= threshold) != same).sum() == 1


def test_weights_count_as_copies_do() -> None:
    random = np.random.default_rng(7)
    same = np.arange(120) % 2 == 0
    scores, folds = random.normal(size=120) + same, np.arange(120) % 5
    copies = random.integers(0, 4, 120)
    weighted = verify(scores, same, folds, copies.astype(np.float64))
    copied = verify(*(np.repeat(values, copies) for values in (scores, same, folds)))
    assert weighted.accuracy == pytest.approx(copied.accuracy)
    assert weighted.auc == pytest.approx(copied.auc)
    assert weighted.eer == pytest.approx(copied.eer)
    assert weighted.tar_at_far == pytest.approx(copied.tar_at_far)


def test_the_threshold_of_a_rate_accepts_that_share_of_impostors() -> None:
    random = np.random.default_rng(8)
    same = np.arange(4000) < 2000
    scores = random.normal(size=4000) + 2 * same
    result = verify(scores, same, _alternating_folds(4000))
    for rate, threshold in result.threshold_at_far.items():
        assert (scores[~same] >= threshold).mean() == pytest.approx(float(rate))
        assert (scores[same] >= threshold).mean() == pytest.approx(result.tar_at_far[rate])


def test_where_no_impostor_may_pass_the_threshold_is_above_the_best_one() -> None:
    scores = np.array([0.9, 0.5, 0.6, 0.1])
    result = verify(scores, np.array([True, True, False, False]), _alternating_folds(4))
    assert 0.6 < result.threshold_at_far["0.001"] <= 0.9
    beaten = verify(scores, np.array([False, True, True, False]), _alternating_folds(4))
    assert beaten.threshold_at_far["0.001"] > 0.9


@pytest.mark.parametrize(("impostors", "told"), [(9_999, False), (10_000, True)])
def test_the_rarest_rate_is_told_where_one_impostor_may_pass(impostors: int, told: bool) -> None:
    same = np.arange(impostors + 10) < 10
    result = verify(np.linspace(1, 0, len(same)), same, _alternating_folds(len(same)))
    assert ("0.0001" in result.tar_at_far) is told
