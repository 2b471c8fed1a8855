"""Searches under treatment: figures by histogram against brute force, paired intervals."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.restored.match import BINS, Comparisons, compare, measure, searches_of
from face_models.training.robustness.measure import auc

pytestmark = pytest.mark.training

PEOPLE, PROBES = 12, 3


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def compared(noise: float) -> Comparisons:
    random = np.random.default_rng(1)
    gallery = unit(random.normal(size=(PEOPLE, 16)))
    person = np.repeat(np.arange(PEOPLE), PROBES)
    drawn = random.normal(size=(len(person), 16))
    return compare(unit(gallery[person] + noise * drawn), gallery, person)


def figures_of(one: Comparisons) -> dict[str, float]:
    told = measure({"probe": one}, {}, Resampling(2, 0))["figures"]["probe"]
    return dict(told)


@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_figures_are_those_of_every_pair_counted(noise: float) -> None:
    one = compared(noise)
    own = np.zeros(one.scores.shape, dtype=bool)
    own[np.arange(len(one.person)), one.person] = True
    genuine, impostor = one.scores[own], one.scores[~own]

    told = figures_of(one)

    strictest = np.sort(impostor)[-1]  # 396 impostors: at 1e-3 none of them may pass
    assert told["auc"] == pytest.approx(auc(genuine, impostor), abs=2 / BINS)
    assert told["tar"] == pytest.approx((genuine > strictest).mean(), abs=0.03)
    assert told["similarity"] == pytest.approx(genuine.mean(), abs=1e-6)
    assert told["rank_1"] == (one.scores.argmax(axis=1) == one.person).mean()


def test_a_tie_with_somebody_else_is_no_match() -> None:
    scores = np.array([[0.5, 0.5], [0.1, 0.9]], dtype=np.float32)

    assert figures_of(Comparisons(scores, np.array([0, 1])))["rank_1"] == 0.5


def test_a_worse_probe_is_shown_to_be_worse_and_equal_ones_are_not() -> None:
    good, bad = compared(0.1), compared(1.2)

    told = measure(
        {"good": good, "bad": bad, "same": good},
        {"bad - good": ("bad", "good"), "same - good": ("same", "good")},
        Resampling(60, 0),
    )

    low, high = told["intervals"]["bad - good"]["auc"]
    assert low <= told["figures"]["bad - good"]["auc"] <= high < 0
    assert told["intervals"]["same - good"]["auc"] == [0.0, 0.0]


def faces_of(identity: np.ndarray) -> FaceSet:
    count = len(identity)
    vectors = np.ones((count, 128), dtype=np.float32)
    pixels = np.zeros((count, 2, 2, 3), dtype=np.uint8)
    source = np.full(count, "made")
    return FaceSet(pixels, np.arange(count), identity, vectors, vectors, source)


def test_nobody_is_searched_for_by_the_photo_that_is_enrolled() -> None:
    identity = np.array([0, 0, 0, 0, 1, 1, NO_IDENTITY])

    found = searches_of(faces_of(identity), most_probes=2, seed=0)

    assert identity[found.gallery].tolist() == [0, 1]
    assert identity[found.probes].tolist() == [0, 0, 1]
    assert np.array_equal(identity[found.probes], identity[found.gallery][found.person])
    assert not set(found.gallery) & set(found.probes)
