import dataclasses
import json
import math
from types import MappingProxyType

import numpy as np
import pytest

from face_models.calibration import UNCALIBRATED, Calibration, fit
from face_models.errors import WeightsError
from face_models.spec import load_specs

GENUINE_MEAN, GENUINE_SPREAD = 0.6, 0.12
IMPOSTOR_MEAN, IMPOSTOR_SPREAD = 0.05, 0.08
IMPOSTORS = 100_000
SIMILARITIES = np.linspace(-1, 1, 101)


def measured(model_sha256="a" * 64, impostors=IMPOSTORS):
    random = np.random.default_rng(seed=11)
    return fit(
        random.normal(GENUINE_MEAN, GENUINE_SPREAD, 20_000),
        random.normal(IMPOSTOR_MEAN, IMPOSTOR_SPREAD, impostors),
        model_sha256=model_sha256,
        data="two normal distributions",
        seed=11,
    )


@pytest.fixture(scope="module")
def calibration():
    return Calibration({"base": measured()})


def beyond(similarity, mean, spread):
    """Share of a normal distribution above a similarity."""
    return 0.5 * math.erfc((similarity - mean) / spread / math.sqrt(2))


@pytest.mark.parametrize("similarity", [0.0, 0.05, 0.123, 0.2, 0.25, 0.29])
def test_fmr_is_the_share_of_impostors_that_reach_a_similarity(calibration, similarity):
    true = beyond(similarity, IMPOSTOR_MEAN, IMPOSTOR_SPREAD)
    assert calibration.fmr("base", similarity) == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.6, 0.777])
def test_fnmr_is_the_share_of_genuine_pairs_that_miss_a_similarity(calibration, similarity):
    true = 1 - beyond(similarity, GENUINE_MEAN, GENUINE_SPREAD)
    assert calibration.fnmr("base", similarity) == pytest.approx(true, abs=0.01)


@pytest.mark.parametrize("similarity", [0.33, 0.36, 0.4])
def test_beyond_the_measured_impostors_fmr_errs_towards_more_false_matches(calibration, similarity):
    true = beyond(similarity, IMPOSTOR_MEAN, IMPOSTOR_SPREAD)
    assert true < calibration.fmr("base", similarity) < 10 * true


def test_the_tail_of_exponential_impostors_is_found_as_it_is():
    impostors = np.random.default_rng(seed=4).exponential(0.05, IMPOSTORS) - 0.2
    table = fit(np.full(100, 0.9), impostors, model_sha256="", data="", seed=4)
    for similarity in (0.2, 0.3, 0.4):
        true = math.exp(-(similarity + 0.2) / 0.05)
        found = Calibration({"base": table}).fmr("base", similarity)
        assert math.log10(found) == pytest.approx(math.log10(true), abs=0.5)


def test_no_claim_is_made_below_a_hundredth_of_one_measured_match(calibration):
    assert calibration.fmr("base", 1.0) == pytest.approx(0.01 / IMPOSTORS)


def test_confidence_is_the_share_of_genuine_pairs_among_equally_many(calibration):
    for similarity in (0.22, 0.26, 0.3):
        densities = [
            math.exp(-(((similarity - mean) / spread) ** 2) / 2) / spread
            for mean, spread in (
                (GENUINE_MEAN, GENUINE_SPREAD),
                (IMPOSTOR_MEAN, IMPOSTOR_SPREAD),
            )
        ]
        expected = densities[0] / sum(densities)
        assert calibration.confidence("base", similarity) == pytest.approx(expected, abs=0.08)


def test_confidence_is_never_certain(calibration):
    assert 0 < calibration.confidence("base", -1) < 0.01
    assert 0.99 < calibration.confidence("base", 1) < 1


def test_every_curve_is_monotone(calibration):
    fmr, fnmr, confidence = (
        np.array([curve("base", similarity) for similarity in SIMILARITIES])
        for curve in (calibration.fmr, calibration.fnmr, calibration.confidence)
    )
    assert (np.diff(fmr) <= 0).all()
    assert (np.diff(fnmr) >= 0).all()
    assert (np.diff(confidence) >= 0).all()


def test_curves_are_monotone_even_where_the_scores_are_not():
    random = np.random.default_rng(seed=3)
    odd = fit(
        np.concatenate([random.normal(-0.3, 0.05, 60), random.normal(0.5, 0.1, 90)]),
        np.concatenate([random.normal(0, 0.1, 900), random.normal(0.6, 0.01, 200)]),
        model_sha256="",
        data="genuine pairs on either side of the impostors",
        seed=3,
    )
    assert (np.diff(odd.confidence) >= 0).all()
    assert (np.diff(odd.log10_fmr) <= 0).all()


@pytest.mark.parametrize("similarity", [-1.2, -1, 1, 1.0000001])
def test_similarities_at_and_past_the_ends_have_answers(calibration, similarity):
    assert 0 < calibration.fmr("base", similarity) <= 1
    assert 0 < calibration.confidence("base", similarity) < 1


def test_what_convinces_one_to_one_is_a_weaker_hint_among_many(calibration):
    alone = calibration.confidence("base", 0.5)
    among_a_thousand = calibration.confidence("base", 0.5, comparisons=1000)

    assert among_a_thousand < alone
    odds = [share / (1 - share) for share in (alone, among_a_thousand)]
    assert odds[0] / odds[1] == pytest.approx(1000)


@pytest.mark.parametrize("comparisons", [0, 1, 4021, 1_000_000])
def test_expected_false_matches_grow_with_the_comparisons(calibration, comparisons):
    expected = calibration.expected_false_matches("base", 0.35, comparisons)
    assert expected == pytest.approx(comparisons * calibration.fmr("base", 0.35))


@pytest.mark.parametrize("fmr", [0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6])
def test_a_threshold_is_where_its_fmr_is_reached(calibration, fmr):
    threshold = calibration.threshold("base", fmr)
    assert calibration.fmr("base", threshold) == pytest.approx(fmr, rel=1e-6)
    assert calibration.fmr("base", threshold - 0.02) > fmr


def test_at_fmr_one_everything_passes(calibration):
    assert calibration.threshold("base", 1) == -1


@pytest.mark.parametrize("fmr", [0, -1, 1.5, 1e-12])
def test_a_threshold_for_an_fmr_that_cannot_be_stated_is_refused(calibration, fmr):
    with pytest.raises(ValueError, match="state"):
        calibration.threshold("base", fmr)


@pytest.mark.parametrize(("genuine", "impostors"), [(99, 1000), (100, 999), (0, 0)])
def test_too_few_pairs_are_no_calibration(genuine, impostors):
    with pytest.raises(ValueError, match=f"{genuine} genuine"):
        fit(np.zeros(genuine), np.zeros(impostors), model_sha256="", data="", seed=0)


def test_a_table_says_where_it_comes_from():
    table = measured()
    assert (table.genuine_pairs, table.impostor_pairs, table.seed) == (20_000, IMPOSTORS, 11)
    assert table.data == "two normal distributions"
    assert table.measured_log10_fmr == pytest.approx(-3)


def test_without_a_calibration_every_question_is_refused():
    with pytest.raises(WeightsError, match="no calibration"):
        UNCALIBRATED.fmr("base", 0.5)


@pytest.fixture
def calibrated(weights):
    specs = load_specs(weights).models
    tables = {name: measured(spec.sha256, impostors=2000) for name, spec in specs.items()}
    Calibration(MappingProxyType(tables)).save(weights)
    return weights


def test_a_saved_calibration_is_loaded_as_it_was(calibrated):
    loaded = Calibration.load(calibrated)
    assert set(loaded.tables) == {"base", "heatmap"}
    specs = load_specs(calibrated).models
    assert loaded.tables["heatmap"] == measured(specs["heatmap"].sha256, impostors=2000)


REFUSED = {
    "an unknown key": (lambda d: d.update(threshold=0.4), "threshold"),
    "an unknown key of a table": (lambda d: d["models"]["base"].update(mean=0.1), "mean"),
    "a missing curve": (lambda d: d["models"]["base"].pop("fnmr"), "fnmr"),
    "a missing model": (lambda d: d["models"].pop("heatmap"), "heatmap"),
    "another schema": (lambda d: d.update(schema=9), "schema 9"),
    "other weights": (lambda d: d["models"]["base"].update(model_sha256="0"), "not measured"),
    "a short curve": (lambda d: d["models"]["base"]["fnmr"].pop(), "fnmr"),
    "a falling confidence": (lambda d: d["models"]["base"]["confidence"].reverse(), "confidence"),
    "a rising FMR": (lambda d: d["models"]["base"]["log10_fmr"].reverse(), "log10_fmr"),
    "text in a curve": (lambda d: d["models"]["base"]["fnmr"].insert(0, "x"), "fnmr|could not"),
    "a number as text": (lambda d: d["models"]["base"].update(seed="11"), "seed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_slip_in_calibration_json_is_named(calibrated, name):
    change, named = REFUSED[name]
    path = calibrated / "calibration.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(WeightsError, match=named):
        Calibration.load(calibrated)


def test_weights_without_calibration_are_refused(weights):
    with pytest.raises(WeightsError, match=r"calibration\.json"):
        Calibration.load(weights)


def test_a_table_that_is_not_monotone_cannot_be_made():
    table = measured(impostors=1000)
    with pytest.raises(ValueError, match="fnmr must not fall"):
        dataclasses.replace(table, fnmr=table.fnmr[::-1])


def test_the_sha256_tells_one_calibration_from_another(calibration):
    table = calibration.tables["base"]
    changed = dataclasses.replace(table, confidence=(*table.confidence[:-1], 1.0))
    assert changed != table
    assert Calibration({"base": changed}).sha256 != calibration.sha256
    assert Calibration({"base": dataclasses.replace(table)}).sha256 == calibration.sha256
