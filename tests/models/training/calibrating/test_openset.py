"""Stated against measured FPIR, on people made of random vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from face_models.calibration import Calibration
from face_models.calibration_table import on_probes_scale
from face_models.training.calibrating.clumps import fit_isolation, no_isolation
from face_models.training.calibrating.comparisons import Faces
from face_models.training.calibrating.fit import Fit, fit
from face_models.training.calibrating.openset import Searches, best_similarity, prove

pytestmark = pytest.mark.training

DIMENSIONS = 32
EVERYBODY_ALIKE = 0.9


def strangers(seed: int, count: int, likeness: float = 0.0) -> np.ndarray:
    """Unit vectors of `count` people; with likeness they lean towards one direction."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS))
    vectors[:, 0] += likeness * DIMENSIONS**0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    person = np.repeat(np.arange(240), 2)
    faces = Faces(strangers(1, 480), person, person // 2)
    return fit(faces, no_isolation(DIMENSIONS), model_sha256="", data="", seed=0)


def searches(likeness: float = 0.0) -> Searches:
    return Searches(
        name="made",
        composition="random directions",
        gallery=strangers(2, 500, likeness),
        probes=strangers(3, 800, likeness),
    )


def test_of_people_of_the_same_kind_the_stated_interval_holds_what_is_measured(fitted: Fit) -> None:
    proofs = prove(searches(), fitted, seed=0)
    assert [proof.stated for proof in proofs] == [0.01, 0.05, 0.1]
    for proof in proofs:
        assert proof.within
        assert proof.low <= proof.measured <= proof.high
        assert proof.measured == proof.false_positives / 800
        assert (proof.gallery_size, proof.probes) == (500, 800)


def test_of_people_of_another_kind_it_does_not(fitted: Fit) -> None:
    for proof in prove(searches(EVERYBODY_ALIKE), fitted, seed=0):
        assert not proof.within
        assert proof.measured > proof.high


def test_measured_are_the_probes_whose_nearest_face_reaches_the_threshold(fitted: Fit) -> None:
    asked = searches()
    (proof,) = prove(asked, fitted, seed=0, targets=[0.2])
    calibration = Calibration({"base": fitted.table})
    threshold = calibration.threshold_for_fpir("base", 0.2, 500)
    nearest = (asked.probes @ asked.gallery.T).max(axis=1)
    assert proof.false_positives == (nearest >= threshold).sum()


def test_nearest_faces_are_read_on_the_probes_own_scale(fitted: Fit) -> None:
    rule = fit_isolation(Faces(strangers(4, 600, 0.4), np.arange(600), np.arange(600)))
    asked = searches(0.4)
    nearest = (asked.probes @ asked.gallery.T).max(axis=1)
    found = best_similarity(asked, replace(fitted.table, isolation=rule))
    assert found == pytest.approx(on_probes_scale(nearest, rule.of(asked.probes)))
    assert np.ptp(rule.of(asked.probes)) > 0.05


def test_fewer_probes_widen_the_interval(fitted: Fit) -> None:
    asked = searches()
    few = replace(asked, probes=asked.probes[:80])
    widths = []
    for each in (asked, few):
        (proof,) = prove(each, fitted, seed=0, targets=[0.1])
        widths.append(proof.high - proof.low)
    assert widths[1] > widths[0]
