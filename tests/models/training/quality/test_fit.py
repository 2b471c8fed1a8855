"""The quality's fit: what spoils recognition is found, and only that; error versus discard."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.quality import MEASURES
from face_models.training.data import FaceSet
from face_models.training.quality.discard import (
    DISCARDS,
    error_versus_discard,
    genuine_pairs,
    rank_correlation,
    summary,
)
from face_models.training.quality.fit import BLANK, KNOTS, fit_quality, outcomes
from face_models.training.quality.occlusion_fit import FACE, covered, fit_occlusion
from face_models.training.quality.probes import AS_IT_IS, FLAWS, ROLL, SIZE, Probes, as_photo
from face_models.training.quality.report import whole_people

pytestmark = pytest.mark.training


def face_set(identity: list[int], pixels: np.ndarray | None = None) -> FaceSet:
    count = len(identity)
    blank = np.zeros((count, 112, 112, 3), np.uint8)
    nothing = np.zeros((count, 128), np.float32)
    return FaceSet(
        pixels=blank if pixels is None else pixels,
        rows=np.arange(count),
        identity=np.array(identity),
        teacher=nothing,
        teacher_flipped=nothing,
        source=np.full(count, "made"),
    )


def measured(count: int) -> np.ndarray:
    """Every measure harmless in half of the faces, else at random down to its worst knot."""
    random = np.random.default_rng(5)
    ends = np.array([(KNOTS[name][0], KNOTS[name][-1]) for name in MEASURES])
    way = random.random((count, len(MEASURES))) * (random.random((count, len(MEASURES))) < 0.5)
    return np.asarray(ends[:, 0] + way * (ends[:, 1] - ends[:, 0]))


def test_the_fit_finds_what_costs_matches_and_nothing_else() -> None:
    values = measured(4000)
    yaw = values[:, MEASURES.index("pose_yaw")]
    chance = 1 / (1 + np.exp(-(1.5 - 4 * (yaw - 8) / 32)))
    model = fit_quality(values, (np.random.default_rng(6).random(4000) < chance).astype(float))
    assert model.log_odds == pytest.approx(1.5, abs=0.5)
    assert model.curves["pose_yaw"](40) == pytest.approx(4, abs=0.8)
    assert model.curves["pose_yaw"](24) == pytest.approx(2, abs=0.6)
    assert model.curves["pose_yaw"](8) == 0
    known_before = {"pose_yaw", *BLANK}
    others = [max(curve.loss) for name, curve in model.curves.items() if name not in known_before]
    assert max(others) < 0.8


def test_a_face_without_detail_matches_nobody_although_no_probe_said_so() -> None:
    harmless = np.array([[KNOTS[name][0] for name in MEASURES]] * 500, dtype=np.float64)
    model = fit_quality(harmless, np.full(500, 0.8))
    flawless = {name: KNOTS[name][0] for name in MEASURES}
    assert model.score(flawless) == 100
    for name in BLANK:
        assert model.score({**flawless, name: KNOTS[name][-1]}) < 10


def test_a_measure_whose_decay_helps_gets_no_reward() -> None:
    values = measured(2000)
    dark = values[:, MEASURES.index("under_exposure")]
    model = fit_quality(values, (dark > 0.5).astype(float))
    assert model.curves["under_exposure"].loss == (0, 0, 0, 0)


def probes(face: list[int], flaw: list[str], vectors: np.ndarray) -> Probes:
    return Probes(np.array(face), np.array(flaw), np.zeros((len(face), len(MEASURES))), vectors, {})


@pytest.fixture
def three_faces() -> tuple[Probes, FaceSet]:
    """Person 0 in faces 0, 1 (also blurred), person 1 in face 2."""
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 3, 1]]
    found = probes([0, 1, 1, 2], [AS_IT_IS, AS_IT_IS, "blur", AS_IT_IS], vectors)
    return found, face_set([0, 0, 1])


def test_a_probe_is_compared_with_other_photos_of_its_person_as_they_are(three_faces) -> None:
    found = outcomes(*three_faces)
    np.testing.assert_allclose(found.similarity, [1, 1, 0, np.nan])
    np.testing.assert_allclose(found.matched[:2], [1, 1])


def test_genuine_pairs_are_counted_once_and_the_spoilt_apart(three_faces) -> None:
    assert genuine_pairs(*three_faces, spoilt=False).tolist() == [[0, 1]]
    assert genuine_pairs(*three_faces, spoilt=True).tolist() == [[2, 0]]


def test_a_quality_that_knows_the_errors_is_as_good_as_the_oracle() -> None:
    similarity = np.random.default_rng(1).random(1000)
    known = error_versus_discard(similarity, similarity, threshold=0.2)
    assert known.gain == pytest.approx(1)
    assert known.fnmr == known.oracle
    assert known.fnmr[0] == pytest.approx(known.area_random, abs=1e-5)
    assert known.fnmr[-1] == 0


def test_a_quality_that_knows_nothing_is_as_good_as_chance() -> None:
    random = np.random.default_rng(2)
    blind = error_versus_discard(random.random(20_000), random.random(20_000), threshold=0.2)
    assert blind.gain == pytest.approx(0, abs=0.05)
    assert len(blind.fnmr) == len(DISCARDS)


def test_equal_qualities_are_no_knowledge() -> None:
    similarity = np.sort(np.random.default_rng(3).random(20_000))
    assert error_versus_discard(similarity, np.zeros(20_000), 0.2).gain == pytest.approx(
        0, abs=0.05
    )


def test_rank_correlation_leaves_out_what_is_not_known() -> None:
    assert rank_correlation(np.array([1, 2, np.nan, 3]), np.array([1, 5, 0, 9])) == 1
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == -1


def test_a_summary_tells_whom_the_default_refuses() -> None:
    told = summary(np.array([1.0, 20, 50, 90]))
    assert told["faces"] == 4
    assert told["refused"] == 0.25


def test_people_are_taken_whole() -> None:
    faces = face_set([0, 0, 1, 1, 1, -1, 2, 2])
    chosen = whole_people(faces, 3, seed=0)
    taken = set(faces.identity[chosen])
    assert -1 not in taken
    assert sorted(chosen) == np.flatnonzero(np.isin(faces.identity, list(taken))).tolist()
    assert len(chosen) >= 3


@pytest.mark.parametrize("name", [name for name in FLAWS if name not in (ROLL, SIZE)])
def test_a_flaw_changes_a_face_the_same_way_every_time(name) -> None:
    face = np.random.default_rng(1).integers(30, 220, (112, 112, 3), dtype=np.uint8)
    views = [FLAWS[name](face, np.random.default_rng(n)) for n in (4, 4, *range(20))]
    np.testing.assert_array_equal(views[0], views[1])
    assert any((view != face).any() for view in views)


def test_a_face_stands_upright_and_whole_in_its_photo() -> None:
    face = np.random.default_rng(1).integers(30, 220, (112, 112, 3), dtype=np.uint8)
    photo = as_photo(face, np.random.default_rng(0), side=112, turn_deg=0.0)
    np.testing.assert_array_equal(photo[56:168, 56:168], face)
    assert (photo[:56] == 127).all()


def test_half_of_the_faces_are_covered_and_the_share_is_told() -> None:
    random = np.random.default_rng(2)
    face = np.full((112, 112, 3), 100, np.uint8)
    x, y, width, height = (round(side) for side in FACE)
    hidden = []
    for _ in range(300):
        view, share = covered(face, random)
        changed = (view != face).any(axis=2)[y : y + height, x : x + width].mean()
        assert share == pytest.approx(changed, abs=0.02)
        hidden.append(share > 0)
    assert np.mean(hidden) == pytest.approx(0.5, abs=0.1)


def test_the_occlusion_network_learns_what_hides_a_plain_face() -> None:
    """Faces of one smooth shade, so that a few hundred views teach enough."""
    rows = np.linspace(60, 180, 112)
    shade = np.repeat(np.add.outer(rows, rows[::-1] / 4)[..., None], 3, axis=2)
    faces = face_set([0] * 300, np.repeat(shade[None].astype(np.uint8), 300, axis=0))
    network = fit_occlusion(faces, seed=0, count=300)
    random = np.random.default_rng(9)
    views = [covered(faces.pixels[0], random) for _ in range(200)]
    told = np.array([network(view) for view, _ in views])
    assert np.corrcoef(told, [share for _, share in views])[0, 1] > 0.6
