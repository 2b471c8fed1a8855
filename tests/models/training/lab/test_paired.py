"""Scores against another's, differences that are and are not there, words that follow them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from face_models.training.lab.figures import slopes
from face_models.training.lab.paired import (
    BETTER,
    NOT_SHOWN,
    WORSE,
    Resampling,
    compare,
    flip_test,
    holm,
    verdict,
)
from face_models.training.lab.scores import score
from face_models.training.lab.words import findings

pytestmark = pytest.mark.training

PEOPLE = 12
TRUTH = np.repeat(np.arange(PEOPLE), 6)
MANY = Resampling(draws=200, flips=2000, seed=0)


def _guesses(right_share: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    wrong = (TRUTH + random.integers(1, PEOPLE, len(TRUTH))) % PEOPLE
    return np.where(random.random(len(TRUTH)) < right_share, TRUTH, wrong)


@pytest.mark.parametrize("right_share", [0.0, 0.3, 0.9, 1.0])
def test_scores_are_those_of_scikit_learn(right_share: float) -> None:
    predicted = _guesses(right_share, 5)
    found = score(predicted, TRUTH, PEOPLE)
    assert found.macro_f1 == pytest.approx(f1_score(TRUTH, predicted, average="macro"))
    assert found.accuracy == pytest.approx(accuracy_score(TRUTH, predicted))


def test_a_person_drawn_not_at_all_counts_not_at_all() -> None:
    predicted = _guesses(0.6, 6)
    weights = np.ones(PEOPLE)
    weights[3:] = 0
    few = TRUTH < 3
    assert score(predicted, TRUTH, PEOPLE, weights) == score(predicted[few], TRUTH[few], PEOPLE)


def test_an_arm_beside_itself_is_no_difference() -> None:
    arm = {seed: [_guesses(0.5, seed)] for seed in (1, 2)}
    found = compare(arm, arm, TRUTH, PEOPLE, MANY)
    assert (found.macro_f1, found.accuracy, found.p) == (0, 0, 1)
    assert found.accuracy_interval == (0, 0)
    assert verdict(found, found.p) == NOT_SHOWN


@pytest.mark.parametrize(("ours", "theirs", "told"), [(0.9, 0.3, BETTER), (0.3, 0.9, WORSE)])
def test_a_great_difference_is_shown_with_its_side(ours: float, theirs: float, told: str) -> None:
    arm = {seed: [_guesses(ours, seed), _guesses(ours, seed + 10)] for seed in (1, 2, 3)}
    rival = {seed: [_guesses(theirs, seed + 20)] for seed in (1, 2, 3)}
    found = compare(arm, rival, TRUTH, PEOPLE, MANY)
    low, high = found.accuracy_interval
    assert low < found.accuracy < high
    assert set(found.by_seed) == {1, 2, 3}
    assert verdict(found, found.p) == told
    assert verdict(found, 0.06) == NOT_SHOWN


def test_the_sign_flips_find_the_exact_p_of_a_small_sample() -> None:
    """Of four equal differences 2 of 16 sign patterns are as far from zero."""
    p = flip_test(np.full(4, 0.1), Resampling(draws=1, flips=20000, seed=1))
    assert p == pytest.approx(2 / 16, abs=0.01)


def test_holms_correction_is_that_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def _severity(condition: str, severity: float, f1: float) -> dict[str, object]:
    return {"condition": condition, "severity": severity, "macro_f1": {"mean": f1}}


def test_a_slope_is_the_change_for_a_tenth_of_severity_from_the_photo_as_it_is() -> None:
    rows = [
        _severity("as it is", 0, 0.9),
        *(_severity("occlusion", share, 0.9 - 0.5 * share) for share in (0.1, 0.2, 0.3, 0.4)),
        *(_severity("brightness", 1 - away, 0.9 - 2 * away) for away in (0.3, 0.15)),
        *(_severity("brightness", 1 + away, 0.9 + away) for away in (0.15, 0.3)),
    ]
    assert slopes(rows) == pytest.approx(
        {"occlusion": -0.05, "brightness, darker": -0.2, "brightness, brighter": 0.1}
    )


def _document(told: str, low: float, high: float) -> dict[str, object]:
    row = {
        "backbone": "shufflenet_v2_x1_0", "arm": "heatmap", "rival": "base",
        "condition": "occlusion", "accuracy": (low + high) / 2, "accuracy_interval": (low, high),
        "macro_f1": 0.1, "verdict": told,
    }  # fmt: skip
    network = {"base": {"slopes": {"occlusion": -0.2}}, "heatmap": {"slopes": {"occlusion": -0.1}}}
    study = {"compared": [row], "networks": {"shufflenet_v2_x1_0": network}}
    lfw = {
        "heatmap_minus_base": {
            "auc": {"shufflenet_v2_x1_0": (low + high) / 2},
            "auc_interval": {"shufflenet_v2_x1_0": (low, high)},
        }
    }
    area = {"minus_control": (low + high) / 2, "interval": (low, high)}
    maps = {"photos": 20, "areas": {"Grad-CAM++": {"deletion": area, "insertion": area}}}
    return {"studies": {"yaleb": study}, "lfw": lfw, "maps": maps}


def test_the_words_say_what_the_figures_say() -> None:
    better = "\n".join(findings(_document(BETTER, 0.02, 0.1)))
    assert "1 are shown better, 0 worse, 0 show nothing" in better
    assert "ShuffleNetV2, occlusion: better, accuracy +0.060 [+0.020, +0.100]" in better
    assert "[+0.0200, +0.1000]: higher" in better
    assert "falls less with severity than the base network's in 1 of 1 curves" in better
    assert "deletion +0.060 [+0.020, +0.100], less faithful" in better
    nothing = "\n".join(findings(_document(NOT_SHOWN, -0.02, 0.1)))
    assert "0 are shown better, 0 worse, 1 show nothing" in nothing
    assert "[-0.0200, +0.1000]: no difference shown" in nothing
    worse = "\n".join(findings(_document(WORSE, -0.1, -0.02)))
    assert "[-0.1000, -0.0200]: lower" in worse
    assert "deletion -0.060 [-0.100, -0.020], more faithful" in worse
