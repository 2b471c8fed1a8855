"""Verification figures on hand-made similarities."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.verification import best_threshold, equal_error_rate, roc, verify


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
