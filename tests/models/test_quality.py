import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from face_models import occlusion
from face_models.align import CROP_PX, TEMPLATE_112, align
from face_models.detect import Detection
from face_models.errors import WeightsError
from face_models.quality import (
    MEASURES,
    QUALITY_FILE,
    Curve,
    QualityModel,
    assess,
    entropy_bits,
    eye_distance_px,
    head_pose_deg,
    measures,
    noise,
    sharpness,
    shipped,
)
from face_models.spec import WEIGHTS_DIR

PEOPLE = Path(__file__).parents[1] / "data" / "people"

FRONTAL = TEMPLATE_112.copy()
FRONTAL[2] = (56, 76)  # a nose where people looking into the camera have it


def detection(landmarks=FRONTAL, score=0.95):
    return Detection(box=(20, 10, 70, 95), score=score, landmarks=np.asarray(landmarks, np.float32))


@pytest.fixture(scope="module")
def face():
    """Something with the contrast and the fine detail of a face: blobs under film grain."""
    random = np.random.default_rng(seed=5)
    blobs = cv2.GaussianBlur(random.normal(size=(224, 224)), (0, 0), 12)
    grain = cv2.GaussianBlur(random.normal(size=(224, 224)), (0, 0), 1.2)
    grey = 128 + 35 * blobs / blobs.std() + 12 * grain / grain.std()
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def blurred(crop, sigma):
    return cv2.GaussianBlur(crop, (0, 0), sigma)


def lit(crop, gain, offset=0):
    return np.clip(crop * float(gain) + offset, 0, 255).astype(np.uint8)


def noisy(crop, sigma):
    field = np.random.default_rng(7).normal(scale=sigma, size=crop.shape)
    return np.clip(crop + field, 0, 255).astype(np.uint8)


def half_black(crop):
    hidden = crop.copy()
    hidden[CROP_PX // 2 :] = 0
    return hidden


def rotated(landmarks, angle_deg):
    matrix = cv2.getRotationMatrix2D((56, 56), -angle_deg, 1)
    return landmarks @ matrix[:, :2].T + matrix[:, 2]


def with_nose_at(x, y):
    moved = FRONTAL.copy()
    moved[2] = (x, y)
    return moved


def components(crop, found):
    return shipped().components(measures(crop, found, hidden_share))


def hidden_share(crop):
    """The share that is black: noise under film grain is no face to the real network."""
    return float((crop.max(axis=2) == 0).mean())


SPOILT = {
    "sharpness": lambda face: (blurred(face, 8), detection()),
    "noise": lambda face: (noisy(face, 50), detection()),
    "under_exposure": lambda face: (lit(face, 0.1), detection()),
    "over_exposure": lambda face: (lit(face, 1, 160), detection()),
    "dynamic_range": lambda face: (lit(face, 0.03, 100), detection()),
    "inter_eye_distance": lambda face: (face, detection(FRONTAL / 10)),
    "pose_yaw": lambda face: (face, detection(with_nose_at(76, 74))),
    "pose_pitch": lambda face: (face, detection(with_nose_at(56, 98))),
    "pose_roll": lambda face: (face, detection(rotated(FRONTAL, 60))),
    "face_occlusion": lambda face: (half_black(face), detection()),
    "detection_confidence": lambda face: (face, detection(score=0.3)),
}
WORSE_IS_LESS = {"sharpness", "dynamic_range", "inter_eye_distance", "detection_confidence"}


@pytest.mark.parametrize("name", SPOILT)
def test_what_spoils_a_face_is_measured(face, name):
    before = measures(face, detection(), hidden_share)[name]
    after = measures(*SPOILT[name](face), hidden_share)[name]
    assert after < 0.8 * before if name in WORSE_IS_LESS else after > before + 0.1


def test_every_measure_has_its_curve_and_the_other_way_round(face):
    assert set(measures(face, detection(), hidden_share)) == set(MEASURES) == set(SPOILT)
    assert set(shipped().curves) == set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_no_shipped_curve_rewards_a_worse_measure(name):
    losses = np.array(shipped().curves[name].loss)
    rising = -np.diff(losses) if name in WORSE_IS_LESS else np.diff(losses)
    assert (rising >= 0).all()
    assert min(losses) == 0


SIMPLE = QualityModel(
    log_odds=1.0,
    curves={"sharpness": Curve((0.2, 0.4), (3.0, 0.0)), "noise": Curve((1, 5), (0.0, 2.0))},
)


def test_a_flawless_face_has_all_of_the_quality():
    assert SIMPLE.score({"sharpness": 0.7, "noise": 0.5}) == 100


def test_the_score_is_the_chance_of_a_match_against_a_flawless_faces():
    at_one = 1 / (1 + np.exp(-1.0))
    assert SIMPLE.score({"sharpness": 0.3, "noise": 1}) == pytest.approx(
        100 / (1 + np.exp(0.5)) / at_one
    )


def test_losses_of_several_flaws_add_up():
    both = SIMPLE.score({"sharpness": 0.3, "noise": 3})
    assert both == pytest.approx(100 * SIMPLE.share(1.5 + 1.0))
    assert both < 100 * min(SIMPLE.components({"sharpness": 0.3, "noise": 3}).values())


def test_reasons_are_named_worst_first(face):
    crop = noisy(half_black(face), 50)
    reasons = assess(crop, detection()).reasons
    shares = shipped().components(measures(crop, detection(), occlusion.shipped()))
    assert len(reasons) >= 2
    assert [shares[name] for name in reasons] == sorted(shares[name] for name in reasons)
    assert "noise" in reasons


FADING = {
    "blur": [lambda face, s=sigma: (blurred(face, s), detection()) for sigma in (1, 4, 6, 10)],
    "noise": [lambda face, s=sigma: (noisy(face, s), detection()) for sigma in (1, 30, 60, 120)],
}


@pytest.mark.parametrize("name", FADING)
def test_the_score_falls_step_by_step(face, name):
    scores = [assess(*step(face)).score for step in FADING[name]]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0] / 2


def test_the_occlusion_network_sees_a_covered_face():
    people = sorted((PEOPLE / "demo-ada").iterdir())
    landmarks = json.loads(PEOPLE.with_suffix(".json").read_text())["landmarks"]["demo-ada"]
    rgb = np.asarray(Image.open(people[0]).convert("RGB"))
    crop = align(rgb, np.asarray(landmarks[0], np.float32))
    covered = crop.copy()
    covered[120:, 40:184] = (150, 185, 205)
    assert occlusion.shipped()(crop) < 0.15
    assert occlusion.shipped()(covered) > 0.25


def test_quality_files_that_are_not_what_they_should_be_are_refused(tmp_path):
    path = tmp_path / QUALITY_FILE
    path.write_text((WEIGHTS_DIR / QUALITY_FILE).read_text().replace("sharpness", "smell"))
    with pytest.raises(WeightsError, match="other measures"):
        QualityModel.load(path)


def test_a_saved_model_is_loaded_as_it_was(tmp_path):
    shipped().save(tmp_path / QUALITY_FILE, {"data": "here"})
    assert QualityModel.load(tmp_path / QUALITY_FILE) == shipped()


def test_a_saved_occlusion_network_answers_as_before(tmp_path, face):
    occlusion.shipped().save(tmp_path / "copy.npz")
    again = occlusion.OcclusionNetwork.load(tmp_path / "copy.npz")
    assert again(face) == pytest.approx(occlusion.shipped()(face), abs=1e-3)


def test_light_hardly_changes_what_counts_as_hidden(face):
    dim = occlusion.features(lit(face, 0.5, 20))
    assert np.abs(dim - occlusion.features(face)).mean() < 0.1
    assert dim.shape == (occlusion.FEATURES,)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_crop_is_refused_by_default(level):
    assert assess(np.full((224, 224, 3), level, np.uint8), detection()).score < 10


def test_sharpness_does_not_depend_on_contrast(face):
    grey = face[::2, ::2, 0].astype(np.float32)
    soft = 0.5 * grey + 64
    assert sharpness(soft) == pytest.approx(sharpness(grey), rel=0.05)


def test_motion_in_one_direction_is_a_blur(face):
    grey = face[::2, ::2, 0].astype(np.float32)
    shaken = cv2.blur(grey, (15, 1))
    assert sharpness(shaken) < 0.7 * sharpness(grey)
    assert sharpness(shaken.T.copy()) == pytest.approx(sharpness(shaken), rel=0.02)


@pytest.mark.parametrize(("levels", "bits"), [(1, 0), (2, 1), (16, 4), (256, 8)])
def test_entropy_counts_the_bits_of_evenly_used_grey_values(levels, bits):
    face = np.tile(np.arange(256) % levels, (16, 1)).astype(np.uint8)
    assert entropy_bits(face) == pytest.approx(bits)


def test_a_frontal_face_has_no_angles():
    np.testing.assert_allclose(head_pose_deg(FRONTAL), (0, 0, 0), atol=1.5)


TURNED_HEADS = {
    "to the image's right": (with_nose_at(70, 76), (1, 0, 0)),
    "to the image's left": (with_nose_at(42, 76), (-1, 0, 0)),
    "down": (with_nose_at(56, 86), (0, 1, 0)),
    "up": (with_nose_at(56, 66), (0, -1, 0)),
    "leaning": (rotated(FRONTAL, 30), (0, 0, 1)),
}


@pytest.mark.parametrize("name", TURNED_HEADS)
def test_the_nose_tells_where_a_head_looks(name):
    landmarks, signs = TURNED_HEADS[name]
    for angle, sign in zip(head_pose_deg(landmarks), signs, strict=True):
        assert abs(angle) < 1.5 if sign == 0 else angle * sign > 15


@pytest.mark.parametrize("angle_deg", [-150, -90, 30, 180])
def test_roll_is_told_apart_from_yaw_and_pitch(angle_deg):
    yaw, pitch, roll = head_pose_deg(rotated(with_nose_at(66, 80), angle_deg))
    upright_yaw, upright_pitch, _ = head_pose_deg(with_nose_at(66, 80))
    assert (yaw, pitch) == pytest.approx((upright_yaw, upright_pitch), abs=0.1)
    assert abs((roll - angle_deg + 180) % 360 - 180) < 1.5


def test_a_turned_head_still_has_its_distance_of_the_eyes():
    assert eye_distance_px(FRONTAL, yaw_deg=0) == pytest.approx(35.24, abs=0.01)
    assert eye_distance_px(FRONTAL, yaw_deg=-60) == pytest.approx(2 * 35.24, abs=0.01)
    assert eye_distance_px(FRONTAL, yaw_deg=89) == pytest.approx(2 * 35.24, abs=0.01)


def test_noise_is_measured_in_grey_levels():
    random = np.random.default_rng(1)
    grey = 128 + random.normal(scale=7, size=(120, 100)).astype(np.float32)
    assert noise(grey) == pytest.approx(7, rel=0.05)


def test_landmarks_in_one_point_raise_nothing_and_have_little_quality(face):
    assert assess(face, detection(np.full((5, 2), 40.0))).score < 50
