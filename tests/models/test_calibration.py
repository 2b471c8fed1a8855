import dataclasses
import json
import math
from types import MappingProxyType

import numpy as np
import pytest

from face_models.calibration import UNCALIBRATED, Calibration
from face_models.calibration_table import CalibrationTable, Isolation, Tail
from face_models.errors import WeightsError
from face_models.spec import load_specs

GRID = np.linspace(-0.5, 1, 301)
PAIRS_OF_PEOPLE = 350_000
FLOOR = -math.log10(PAIRS_OF_PEOPLE) - 2
TAIL = Tail(threshold=0.3, log10_fmr=-3.0, scale=0.06, shape=-0.08)
ISOLATION = Isolation(weights=(0.2, -0.1, 0.0), intercept=0.05)
SIMILARITIES = np.linspace(-1, 1, 101)


def measured(model_sha256="a" * 64, **changes):
    """Three decades of FMR down to 0.3, then the tail; the rest straight lines."""
    body = -3 * (GRID + 0.5) / 0.8
    with np.errstate(invalid="ignore"):
        fmr = np.where(TAIL.threshold < GRID, np.maximum(TAIL.log10_at(GRID), FLOOR), body)
    known = {
        "data": "straight lines",
        "people": 837,
        "pairs_of_people": PAIRS_OF_PEOPLE,
        "genuine_pairs": 13_300,
        "impostor_pairs": 8_000_000,
        "seed": 11,
        "isolation": ISOLATION,
        "tail": TAIL,
        "dispersion": (0.5, 0.5, 0.5, 0.5),
        "similarity": tuple(GRID.tolist()),
        "log10_fmr": tuple(fmr.tolist()),
        "log10_fmr_low": tuple((fmr - 0.3).tolist()),
        "log10_fmr_high": tuple(np.minimum(fmr + 0.2, 0).tolist()),
        "fnmr": tuple(((GRID + 0.5) / 1.5).tolist()),
        "confidence": tuple(np.linspace(0.001, 0.999, len(GRID)).tolist()),
    }
    return CalibrationTable(model_sha256=model_sha256, **{**known, **changes})


@pytest.fixture(scope="module")
def calibration():
    return Calibration({"base": measured()})


def test_where_impostors_were_counted_fmr_follows_the_curve(calibration):
    assert calibration.fmr("base", 0.1) == pytest.approx(10 ** (-3 * 0.6 / 0.8))
    assert calibration.fmr("base", 0.1025) == pytest.approx(10 ** (-3 * 0.6025 / 0.8))


@pytest.mark.parametrize("similarity", [0.3021, 0.4, 0.55, 0.7])
def test_beyond_fmr_is_the_generalised_pareto_tail(calibration, similarity):
    survival = (1 - 0.08 * (similarity - 0.3) / 0.06) ** (1 / 0.08)
    assert calibration.fmr("base", similarity) == pytest.approx(1e-3 * survival)


def test_a_tail_of_shape_zero_is_exponential():
    tail = Tail(threshold=0.3, log10_fmr=-3.0, scale=0.06, shape=0.0)
    assert 10 ** tail.log10_at(0.42) == pytest.approx(1e-3 * math.exp(-2))


def test_a_tail_has_an_end_and_nothing_is_claimed_beyond():
    tail = Tail(threshold=0.3, log10_fmr=-3.0, scale=0.06, shape=-0.2)
    assert tail.log10_at(np.array([0.59, 0.61]))[1] == -np.inf


def test_no_claim_is_made_below_a_hundredth_of_one_match_of_all_pairs_of_people():
    steep = Tail(threshold=0.3, log10_fmr=-3.0, scale=0.02, shape=0.0)
    curve = measured().log10_at(np.minimum(GRID, 0.3))
    curve = np.where(steep.threshold < GRID, np.maximum(steep.log10_at(GRID), FLOOR), curve)
    table = measured(tail=steep, log10_fmr=tuple(curve.tolist()))
    assert Calibration({"base": table}).fmr("base", 1.0) == pytest.approx(0.01 / PAIRS_OF_PEOPLE)


@pytest.mark.parametrize("isolation", [0.7, 1.0, 1.4])
def test_every_curve_is_monotone_and_a_share(calibration, isolation):
    for curve, rising in (
        (calibration.fmr, False),
        (calibration.fnmr, True),
        (lambda m, s, isolation: calibration.confidence(m, s, 100, isolation), True),
        (lambda m, s, isolation: calibration.fpir(m, s, 100, isolation), False),
    ):
        values = np.array([curve("base", s, isolation=isolation) for s in SIMILARITIES])
        steps = np.diff(values)
        assert ((steps >= 0) if rising else (steps <= 0)).all()
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("similarity", [-1.2, -1, 1, 1.0000001])
def test_similarities_at_and_past_the_ends_have_answers(calibration, similarity):
    assert 0 < calibration.fmr("base", similarity) <= 1
    assert 0 < calibration.confidence("base", similarity) < 1


def test_an_interval_holds_its_fmr(calibration):
    for similarity in SIMILARITIES:
        low, high = calibration.fmr_interval("base", similarity)
        assert low <= calibration.fmr("base", similarity) * 1.001
        assert high >= calibration.fmr("base", similarity) * 0.999


def test_isolation_is_told_from_the_embedding(calibration):
    probe = np.array([0.6, 0.8, 0.0])
    assert calibration.isolation("base", probe) == pytest.approx(math.exp(0.12 - 0.08 + 0.05))


def test_isolation_is_held_within_a_factor_of_two(calibration):
    far, near = np.array([50.0, 0, 0]), np.array([-50.0, 0, 0])
    assert calibration.isolation("base", far) == pytest.approx(2)
    assert calibration.isolation("base", near) == pytest.approx(0.5)


def test_distances_are_divided_by_the_probes_isolation(calibration):
    assert calibration.fmr("base", 0.5, isolation=0.8) == calibration.fmr("base", 1 - 0.5 / 0.8)


def test_the_same_similarity_says_less_of_somebody_whom_many_resemble(calibration):
    for similarity in (0.2, 0.4, 0.6):
        crowded, median = (calibration.fmr("base", similarity, i) for i in (0.8, 1.0))
        assert crowded > median
        crowded, median = (calibration.confidence("base", similarity, 40, i) for i in (0.8, 1.0))
        assert crowded < median


def test_the_very_same_photo_is_the_same_evidence_for_everybody(calibration):
    assert calibration.fmr("base", 1.0, 0.7) == calibration.fmr("base", 1.0, 1.4)


def test_what_convinces_one_to_one_is_a_weaker_hint_among_many(calibration):
    alone = calibration.confidence("base", 0.5)
    among_a_thousand = calibration.confidence("base", 0.5, comparisons=1000)

    assert among_a_thousand < alone
    odds = [share / (1 - share) for share in (alone, among_a_thousand)]
    assert odds[0] / odds[1] == pytest.approx(1000)


def test_a_curve_that_was_rounded_to_one_is_no_certainty():
    """A division by zero once: curves are kept to a few digits."""
    sure = Calibration({"base": measured(confidence=(0.5,) * 300 + (1.0,))})
    assert 0.99 < sure.confidence("base", 1.0) < 1
    assert sure.confidence("base", 1.0, comparisons=1_000_000) < sure.confidence("base", 1.0)


@pytest.mark.parametrize("comparisons", [0, 1, 4021, 1_000_000])
def test_expected_false_matches_grow_with_the_comparisons(calibration, comparisons):
    expected = calibration.expected_false_matches("base", 0.35, comparisons)
    assert expected == pytest.approx(comparisons * calibration.fmr("base", 0.35))


def test_fpir_is_at_least_one_false_match_of_a_negative_binomial_number(calibration):
    mean = -5000 * math.log1p(-calibration.fmr("base", 0.4))
    none = (0.5 / (0.5 + mean)) ** 0.5
    assert calibration.fpir("base", 0.4, 5000) == pytest.approx(1 - none)
    assert calibration.fpir("base", 0.4, 0) == 0
    assert calibration.fpir("base", 0.4, 1) == pytest.approx(calibration.fmr("base", 0.4), rel=1e-3)


def test_false_matches_that_hardly_clump_are_independent_comparisons():
    calibration = Calibration({"base": measured(dispersion=(1000.0,) * 4)})
    fmr = calibration.fmr("base", 0.4)
    assert calibration.fpir("base", 0.4, 5000) == pytest.approx(1 - (1 - fmr) ** 5000, rel=0.01)


def test_the_dispersion_is_the_one_of_the_fmr():
    table = measured(dispersion=(0.1, 0.4, 1.6, 6.4))
    calibration = Calibration({"base": table})
    for fmr, size in ((1e-5, 0.1), (1e-4, 0.1), (10**-2.5, 0.8), (0.1, 6.4)):
        at = calibration.threshold("base", fmr)
        mean = -50 * math.log1p(-fmr)
        assert calibration.fpir("base", at, 50) == pytest.approx(1 - (1 + mean / size) ** -size)


def test_clumps_of_false_matches_are_found_by_fewer_searches(calibration):
    fpir = calibration.fpir("base", 0.4, 5000)
    assert fpir < calibration.expected_false_matches("base", 0.4, 5000)


@pytest.mark.parametrize("isolation", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("fmr", [0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6])
def test_a_threshold_is_where_its_fmr_is_reached(calibration, fmr, isolation):
    threshold = calibration.threshold("base", fmr, isolation)
    assert calibration.fmr("base", threshold, isolation) == pytest.approx(fmr, rel=1e-6)
    assert calibration.fmr("base", threshold - 0.02, isolation) > fmr


def test_at_fmr_one_everything_passes(calibration):
    assert calibration.fmr("base", calibration.threshold("base", 1)) == 1


@pytest.mark.parametrize("comparisons", [1, 1000, 10_000])
@pytest.mark.parametrize("fpir", [0.01, 0.05, 0.1, 0.5])
def test_a_threshold_for_an_fpir_is_where_it_is_reached(calibration, fpir, comparisons):
    threshold = calibration.threshold_for_fpir("base", fpir, comparisons, isolation=0.9)
    assert calibration.fpir("base", threshold, comparisons, 0.9) == pytest.approx(fpir, rel=1e-6)


def test_a_larger_gallery_needs_a_higher_threshold(calibration):
    thresholds = [calibration.threshold_for_fpir("base", 0.05, n) for n in (10, 1000, 10_000)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


@pytest.mark.parametrize("fmr", [0, -1, 1.5, 1e-12])
def test_a_threshold_for_an_fmr_that_cannot_be_stated_is_refused(calibration, fmr):
    with pytest.raises(ValueError, match="states"):
        calibration.threshold("base", fmr)


@pytest.mark.parametrize(("fpir", "named"), [(0, "FPIR 0"), (1, "FPIR 1"), (1e-6, "states")])
def test_a_threshold_for_an_fpir_that_cannot_be_stated_is_refused(calibration, fpir, named):
    with pytest.raises(ValueError, match=named):
        calibration.threshold_for_fpir("base", fpir, 10_000_000)


def test_without_a_calibration_every_question_is_refused():
    with pytest.raises(WeightsError, match="no calibration"):
        UNCALIBRATED.fmr("base", 0.5)


@pytest.fixture
def calibrated(weights):
    specs = load_specs(weights).models
    tables = {name: measured(spec.sha256) for name, spec in specs.items()}
    Calibration(MappingProxyType(tables)).save(weights)
    return weights


def test_a_saved_calibration_is_loaded_as_it_was(calibrated):
    loaded = Calibration.load(calibrated)
    assert set(loaded.tables) == {"base", "heatmap"}
    assert loaded.tables["heatmap"] == measured(load_specs(calibrated).models["heatmap"].sha256)


REFUSED = {
    "an unknown key": (lambda d: d.update(threshold=0.4), "threshold"),
    "an unknown key of a table": (lambda d: d["models"]["base"].update(mean=0.1), "mean"),
    "an unknown key of a tail": (lambda d: d["models"]["base"]["tail"].update(end=1.0), "end"),
    "a missing curve": (lambda d: d["models"]["base"].pop("fnmr"), "fnmr"),
    "a missing tail": (lambda d: d["models"]["base"].pop("tail"), "tail"),
    "a missing model": (lambda d: d["models"].pop("heatmap"), "heatmap"),
    "another schema": (lambda d: d.update(schema=1), "schema 1"),
    "other weights": (lambda d: d["models"]["base"].update(model_sha256="0"), "not measured"),
    "a short curve": (lambda d: d["models"]["base"]["fnmr"].pop(), "fnmr"),
    "a falling confidence": (lambda d: d["models"]["base"]["confidence"].reverse(), "confidence"),
    "a rising FMR": (lambda d: d["models"]["base"]["log10_fmr"].reverse(), "log10_fmr"),
    "text in a curve": (lambda d: d["models"]["base"]["fnmr"].insert(0, "x"), "fnmr|could not"),
    "a number as text": (lambda d: d["models"]["base"].update(seed="11"), "seed"),
    "a dispersion too few": (lambda d: d["models"]["base"]["dispersion"].pop(), "dispersion"),
    "a falling dispersion": (
        lambda d: (
            d["models"]["base"]["dispersion"].insert(1, 0.1)
            or d["models"]["base"]["dispersion"].pop()
        ),
        "dispersion",
    ),
    "no dispersion at all": (
        lambda d: d["models"]["base"].update(dispersion=[0.0, 0.0, 0.0, 1.0]),
        "dispersion",
    ),
    "another tail": (lambda d: d["models"]["base"]["tail"].update(scale=0.05), "agree"),
    "a tail that widens": (lambda d: d["models"]["base"]["tail"].update(shape=0.1), "shape"),
    "no rule of isolation": (
        lambda d: d["models"]["base"]["isolation"].update(weights=[]),
        "isolation",
    ),
    "text in the rule of isolation": (
        lambda d: d["models"]["base"]["isolation"]["weights"].append("x"),
        "isolation",
    ),
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
    table = measured()
    with pytest.raises(ValueError, match="fnmr must not fall"):
        dataclasses.replace(table, fnmr=table.fnmr[::-1])


def test_the_sha256_tells_one_calibration_from_another(calibration):
    table = calibration.tables["base"]
    changed = dataclasses.replace(table, confidence=(*table.confidence[:-1], 1.0))
    assert changed != table
    assert Calibration({"base": changed}).sha256 != calibration.sha256
    assert Calibration({"base": dataclasses.replace(table)}).sha256 == calibration.sha256


def test_the_shipped_calibration_knows_an_isolation_for_every_embedding():
    shipped = Calibration.load()
    specs = load_specs().models
    for name, table in shipped.tables.items():
        assert len(table.isolation.weights) == specs[name.removesuffix("-flip")].dimensions
        assert table.tail.threshold < 1
        assert 1e-6 >= shipped.fmr(name, 1.0) > 0
