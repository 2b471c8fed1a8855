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
    rival = {seed: [_guesses(theirs, seed + 20), _guesses(theirs, seed + 30)] for seed in (1, 2, 3)}
    found = compare(arm, rival, TRUTH, PEOPLE, MANY)
    low, high = found.macro_f1_interval
    assert low < found.macro_f1 < high
    assert set(found.by_seed) == {1, 2, 3}
    assert verdict(found, found.p) == told
    assert verdict(found, 0.06) == NOT_SHOWN


FLIPS = Resampling(draws=1, flips=20000, seed=1)


def test_four_people_whom_one_arm_alone_knows_are_found_by_chance_in_two_of_sixteen_ways() -> None:
    truth = np.arange(4)
    nobody_here = np.full(4, 4)
    assert flip_test({1: [truth]}, {1: [nobody_here]}, truth, 5, FLIPS) == pytest.approx(
        2 / 16, abs=0.01
    )


def test_the_swaps_find_the_exact_p_of_a_macro_f1_difference() -> None:
    """Against every way to hand a person's answers to the other arm, measured one by one."""
    people, truth = 6, np.repeat(np.arange(6), 3)
    random = np.random.default_rng(4)
    arm, rival = (
        {seed: [np.where(random.random(18) < share, truth, random.integers(0, 6, 18))]}
        for seed, share in ((1, 0.8), (1, 0.4))
    )

    def difference(swapped: np.ndarray) -> float:
        ours, theirs = (
            np.where(swapped[truth], b[1][0], a[1][0]) for a, b in ((arm, rival), (rival, arm))
        )
        return score(ours, truth, people).macro_f1 - score(theirs, truth, people).macro_f1

    ways = [(np.arange(64)[way] >> np.arange(6)) & 1 == 1 for way in range(64)]
    found = np.abs([difference(way) for way in ways])
    exact = (found >= found[0] - 1e-12).mean()
    assert 0.02 < exact < 0.9
    assert flip_test(arm, rival, truth, people, FLIPS) == pytest.approx(exact, abs=0.02)


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
        "condition": "occlusion", "macro_f1": (low + high) / 2, "macro_f1_interval": (low, high),
        "accuracy": 0.1, "verdict": told,
    }  # fmt: skip
    network = {
        "base": {"slopes": {"occlusion": -0.2, "brightness, brighter": 0.1}},
        "heatmap": {"slopes": {"occlusion": -0.1, "brightness, brighter": 0.3}},
    }
    networks = {"shufflenet_v2_x1_0": network}
    study = {"compared": [row], "networks": networks, "seeds": [1]}
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
    assert "ShuffleNetV2, occlusion: better, macro-F1 +0.060 [+0.020, +0.100]" in better
    assert "[+0.0200, +0.1000]: higher" in better
    assert "one seed" in better
    assert (
        "falls less with severity than the base network's in 1 of the 1 curves that fall" in better
    )
    assert "deletion +0.060 [+0.020, +0.100], less faithful" in better
    nothing = "\n".join(findings(_document(NOT_SHOWN, -0.02, 0.1)))
    assert "0 are shown better, 0 worse, 1 show nothing" in nothing
    assert "[-0.0200, +0.1000]: no difference shown" in nothing
    worse = "\n".join(findings(_document(WORSE, -0.1, -0.02)))
    assert "[-0.1000, -0.0200]: lower" in worse
    assert "deletion -0.060 [-0.100, -0.020], more faithful" in worse
