"""Fitting the calibration: people made of random vectors, tails of known shape."""

from __future__ import annotations

import math

import numpy as np
import pytest

from face_models.calibration import Calibration
from face_models.calibration_table import CalibrationTable, on_probes_scale
from face_models.training.calibrating.clumps import (
    dispersion_of,
    false_matches,
    fit_isolation,
    no_isolation,
)
from face_models.training.calibrating.comparisons import (
    GRID,
    STEP,
    Comparisons,
    Faces,
    compare,
    step_of,
)
from face_models.training.calibrating.fit import fit, fit_tail, replicates

pytestmark = pytest.mark.training

DIMENSIONS = 32
PHOTOS = 3


def people(seed: int, families: int = 80, crowded: float = 0.0, spread: float = 0.5) -> Faces:
    """Two people a family, three photos each; some resemble one another like small children."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(2 * families), PHOTOS)
    means = random.normal(size=(2 * families, DIMENSIONS))
    alike = random.random(2 * families) < crowded
    means[alike] = 0.6 * means[alike] + 5 * np.eye(DIMENSIONS)[0]
    vectors = means[person] + spread * random.normal(size=(len(person), DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Faces(vectors.astype(np.float32), person, person // 2)


def table_of(faces: Faces, seed: int = 0) -> CalibrationTable:
    rule = no_isolation(DIMENSIONS)
    return fit(faces, rule, model_sha256="", data="made", seed=seed).table


def masses(scores: np.ndarray) -> np.ndarray:
    return np.bincount(step_of(scores), minlength=len(GRID)).astype(np.float64)


def test_every_step_starts_at_a_point_of_the_grid() -> None:
    assert step_of(GRID).tolist() == list(range(len(GRID)))
    assert step_of(np.array([-1.0, 1.1])).tolist() == [0, len(GRID) - 1]


def test_every_pair_is_compared_both_ways_on_the_probes_scale() -> None:
    faces = people(seed=1, families=3)
    rule = fit_isolation(people(seed=2))
    found = compare(faces, rule)
    strangers, genuine, relatives = np.zeros((3, 3, len(GRID))), np.zeros(len(GRID)), 0
    scale = rule.of(faces.vectors)
    for a, probe in enumerate(faces.vectors):
        for b, other in enumerate(faces.vectors):
            step = step_of(on_probes_scale(np.float64(probe @ other), scale[a]))
            families = faces.family[a], faces.family[b]
            if families[0] != families[1]:
                strangers[(*families, step)] += 1 / PHOTOS**2
            elif faces.person[a] != faces.person[b]:
                relatives += 1 / PHOTOS**2
            elif a != b:
                genuine[step] += 1 / (PHOTOS * (PHOTOS - 1))
    assert np.abs(found.strangers - strangers).sum() < 0.5  # a pair may round to the next step
    assert np.abs(found.genuine - genuine).sum() < 0.5
    assert found.relatives.sum() == pytest.approx(relatives)
    assert (found.people, found.pairs_of_people) == (6, 12)
    assert (found.genuine_pairs, found.impostor_pairs) == (18, 108)


def test_a_person_with_many_photos_weighs_no_more_than_others() -> None:
    faces = people(seed=1, families=3)
    once = np.flatnonzero(np.arange(len(faces.person)) >= 0)
    again = np.concatenate([once, np.repeat(once[:PHOTOS], 9)])
    more = Faces(faces.vectors[again], faces.person[again], faces.family[again])
    plain = no_isolation(DIMENSIONS)
    few, many = (compare(f, plain).strangers for f in (faces, more))
    assert many == pytest.approx(few)


@pytest.mark.parametrize("shape", [0.0, -0.1, -0.2])
def test_a_tail_is_found_as_it_is(shape: float) -> None:
    uniform = np.random.default_rng(4).random(4_000_000)
    scale = 0.06 if shape == 0 else -1.1 * shape  # so that it ends at 1
    excess = -np.log(uniform) if shape == 0 else (1 - uniform**-shape) / -shape
    tail = fit_tail(masses(scale * excess - 0.1))
    for similarity in (0.35, 0.45, 0.55, 0.65, 0.75, 0.85):
        start = (similarity + 0.1) / scale
        true = -start if shape == 0 else math.log(max(1 + shape * start, 1e-9)) / -shape
        if true > math.log(1e-7):
            assert tail.log10_at(similarity) == pytest.approx(true / math.log(10), abs=0.3)


def test_the_fit_agrees_with_an_independent_one() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(7)
    scores = random.normal(0.05, 0.1, 3_000_000)
    tail = fit_tail(masses(scores))
    excess = scores[scores >= tail.threshold] - tail.threshold
    shape, _, scale = stats.genpareto.fit(excess, floc=0)
    assert tail.scale == pytest.approx(scale, rel=0.1)
    assert tail.shape == pytest.approx(shape, abs=0.06)


def test_people_under_two_names_do_not_decide_the_tail() -> None:
    scores = np.random.default_rng(5).normal(0.05, 0.1, 1_000_000)
    clean = fit_tail(masses(scores))
    noisy = fit_tail(masses(np.concatenate([scores, np.full(4, 0.97)])))  # of a tail of 1,000
    assert noisy.log10_at(0.5) == pytest.approx(clean.log10_at(0.5), abs=0.25)
    assert noisy.log10_at(0.6) >= clean.log10_at(0.6)  # it errs towards more false matches


def test_a_tail_never_ends_before_a_cosine_does() -> None:
    scores = np.random.default_rng(6).uniform(-0.2, 0.5, 300_000)
    tail = fit_tail(masses(scores))
    assert tail.threshold - tail.scale / tail.shape >= 1 - STEP


def test_whom_many_resemble_is_less_isolated() -> None:
    faces = people(seed=3, families=300, crowded=0.2)
    isolation = fit_isolation(faces).of(faces.vectors)
    alike = faces.vectors[:, 0] > 0.6
    assert np.median(isolation[alike]) < 0.9 < np.median(isolation[~alike])
    assert np.median(isolation) == pytest.approx(1, abs=0.05)


def test_isolation_makes_one_similarity_mean_the_same_for_everybody() -> None:
    rule = fit_isolation(people(seed=3, families=300, crowded=0.2))
    faces = people(seed=8, families=150, crowded=0.2)
    alike = np.flatnonzero(faces.vectors[:, 0] > 0.6)
    shares = []
    for isolation in (no_isolation(DIMENSIONS), rule):
        scale = isolation.of(faces.vectors)
        scores = on_probes_scale(faces.vectors @ faces.vectors.T, scale[:, None])
        scores[faces.family[:, None] == faces.family] = -1
        rare = scores >= np.quantile(scores, 0.999)
        shares.append(rare[alike].sum() / rare.sum())
    assert shares[0] > 0.9
    assert shares[1] < 0.8 * shares[0]


def test_fmr_is_the_share_of_strangers_who_reach_a_similarity() -> None:
    faces = people(seed=9)
    calibration = Calibration({"base": table_of(faces)})
    similarity = faces.vectors @ faces.vectors.T
    strangers = similarity[faces.family[:, None] != faces.family]
    for at in (0.1, 0.2, 0.4):
        assert calibration.fmr("base", at) == pytest.approx((strangers >= at).mean(), rel=0.02)


def test_other_people_of_the_kind_are_within_the_interval() -> None:
    calibration = Calibration({"base": table_of(people(seed=10))})
    others = people(seed=12, families=400)
    similarity = others.vectors @ others.vectors.T
    strangers = similarity[others.family[:, None] != others.family]
    for at in (0.3, 0.45, 0.55, 0.6):
        low, high = calibration.fmr_interval("base", at)
        assert low <= (strangers >= at).mean() <= high


def test_confidence_is_the_share_of_genuine_pairs_among_equally_many() -> None:
    faces = people(seed=13, families=200, spread=0.9)
    table = table_of(faces)
    similarity = np.float64(faces.vectors @ faces.vectors.T)
    same = faces.person[:, None] == faces.person
    np.fill_diagonal(similarity, -1)
    near = np.abs(similarity - 0.55) < 0.03
    genuine = near[same].mean() * PHOTOS / (PHOTOS - 1)
    impostor = near[faces.family[:, None] != faces.family].mean()
    told = Calibration({"base": table}).confidence("base", 0.55)
    assert told == pytest.approx(genuine / (genuine + impostor), abs=0.08)
    assert 0 < table.confidence[0] < 0.1
    assert 0.99 < table.confidence[-1] < 1


def test_those_who_do_not_resemble_each_other_are_hardly_the_same() -> None:
    table = table_of(people(seed=13, families=200))
    calibration = Calibration({"base": table})
    assert 0 < calibration.confidence("base", -0.5) <= calibration.confidence("base", 0) < 0.01


def test_even_where_nobody_errs_confidence_is_not_rounded_to_certainty() -> None:
    confidence = table_of(people(seed=13, families=300, spread=0.05)).confidence
    assert confidence[-1] > 0.99999
    assert all(0 < share < 1 for share in confidence)


def test_the_bootstrap_can_be_repeated() -> None:
    faces, plain = people(seed=14, families=20), no_isolation(DIMENSIONS)
    comparisons, found = compare(faces, plain), false_matches(faces, plain, [0.5] * 4, seed=0)
    one, again, other = (
        np.array([each.log10_fmr for each in replicates(comparisons, found, seed, 3)])
        for seed in (5, 5, 6)
    )
    assert (one == again).all()
    assert not (one == other).all()


@pytest.mark.parametrize("size", [0.2, 1.0, 20.0])
@pytest.mark.parametrize("mean", [0.05, 0.3])
def test_the_dispersion_of_negative_binomial_numbers_is_found(size: float, mean: float) -> None:
    assert dispersion_of((1 + mean / size) ** -size, mean) == pytest.approx(size, rel=1e-3)


def test_the_dispersion_is_held_where_it_can_be_told() -> None:
    assert dispersion_of(math.exp(-0.1), 0.1) == pytest.approx(1000)
    assert dispersion_of(0.999, 0.1) == pytest.approx(0.1, rel=1e-3)


def test_searches_are_for_strangers_one_photo_each() -> None:
    faces, plain = people(seed=16, families=12), no_isolation(DIMENSIONS)
    everybody = false_matches(faces, plain, [-2.0], seed=0)
    assert (everybody.mean == 22).all()
    assert (everybody.none == 0).all()
    assert false_matches(faces, plain, [1.1], seed=0).none.min() == 1


def test_where_false_matches_are_common_galleries_are_small() -> None:
    faces, plain = people(seed=16, families=40), no_isolation(DIMENSIONS)
    found = false_matches(faces, plain, [-2.0] * 4, seed=0)
    most = np.ceil(found.mean.max(axis=1))
    assert most.tolist() == [78, 78, 30, 3]  # of 80 people, less the probe's family of two


def test_false_matches_clump_where_some_people_resemble_many() -> None:
    crowded, even = (
        fit(
            people(seed=17, families=60, crowded=share),
            no_isolation(DIMENSIONS),
            model_sha256="",
            data="",
            seed=0,
        ).table.dispersion
        for share in (0.15, 0.0)
    )
    assert crowded[2] < even[2] / 2
    assert list(crowded) == sorted(crowded)


def test_of_too_few_people_no_isolation_is_learnt() -> None:
    faces = people(seed=3, families=40, crowded=0.2)
    assert len(faces.person) < 8 * DIMENSIONS
    assert fit_isolation(faces) == no_isolation(DIMENSIONS)


def test_a_table_says_where_it_comes_from() -> None:
    table = table_of(people(seed=15, families=20), seed=4)
    assert (table.people, table.pairs_of_people, table.seed) == (40, 760, 4)
    assert (table.genuine_pairs, table.impostor_pairs) == (120, 760 * PHOTOS**2)


def test_too_few_people_are_no_calibration() -> None:
    with pytest.raises(ValueError, match="9 families"):
        table_of(people(seed=1, families=9))
    faces = people(seed=1, families=12)
    singles = Faces(faces.vectors[::PHOTOS], faces.person[::PHOTOS], faces.family[::PHOTOS])
    with pytest.raises(ValueError, match="0 genuine"):
        table_of(singles)


def test_half_of_the_families_are_numbered_anew() -> None:
    faces = people(seed=1, families=6)
    half = faces.of_families(np.arange(6) % 2 == 1)
    assert (half.people, half.families) == (6, 3)
    found: Comparisons = compare(half, no_isolation(DIMENSIONS))
    assert found.pairs_of_people == 12
