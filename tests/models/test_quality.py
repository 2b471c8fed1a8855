import cv2
import numpy as np
import pytest

from face_models.align import TEMPLATE_112
from face_models.detect import Detection
from face_models.quality import (
    assess,
    components,
    entropy_bits,
    eye_distance_px,
    head_pose_deg,
    sharpness,
)

FRONTAL = TEMPLATE_112.copy()
FRONTAL[2] = (56, 74)  # a nose where people looking into the camera have it


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


def rotated(landmarks, angle_deg):
    matrix = cv2.getRotationMatrix2D((56, 56), -angle_deg, 1)
    return landmarks @ matrix[:, :2].T + matrix[:, 2]


def with_nose_at(x, y):
    moved = FRONTAL.copy()
    moved[2] = (x, y)
    return moved


def test_a_good_face_has_a_high_score_and_no_reason(face):
    quality = assess(face, detection())
    assert quality.score >= 90
    assert quality.reasons == ()


SPOILT = {
    "sharpness": lambda face: (blurred(face, 8), detection()),
    "under_exposure": lambda face: (lit(face, 0.1), detection()),
    "over_exposure": lambda face: (lit(face, 1, 160), detection()),
    "dynamic_range": lambda face: (lit(face, 0.03, 100), detection()),
    "inter_eye_distance": lambda face: (face, detection(FRONTAL / 5)),
    "pose_yaw": lambda face: (face, detection(with_nose_at(76, 74))),
    "pose_pitch": lambda face: (face, detection(with_nose_at(56, 98))),
    "pose_roll": lambda face: (face, detection(rotated(FRONTAL, 60))),
    "detection_confidence": lambda face: (face, detection(score=0.3)),
}


@pytest.mark.parametrize("reason", SPOILT)
def test_what_spoils_a_face_is_named(face, reason):
    quality = assess(*SPOILT[reason](face))
    assert reason in quality.reasons
    assert quality.score < 50


def test_every_component_can_be_a_reason(face):
    assert set(components(face, detection())) == set(SPOILT)


def test_reasons_are_ordered_by_how_much_they_spoil(face):
    quality = assess(blurred(face, 12), detection(rotated(FRONTAL, 50)))
    assert quality.reasons == ("sharpness", "pose_roll")


def test_the_score_is_the_product_of_the_components(face):
    crop, found = blurred(face, 3), detection(rotated(FRONTAL / 4, 20), score=0.7)
    shares = components(crop, found)
    assert 0 < min(shares.values()) < max(shares.values()) <= 1
    assert assess(crop, found).score == round(100 * np.prod(list(shares.values())))


FADING = {
    "blur": [lambda face, s=sigma: (blurred(face, s), detection()) for sigma in (1, 3, 5, 8)],
    "darkness": [lambda face, g=gain: (lit(face, g), detection()) for gain in (1, 0.2, 0.1, 0.03)],
    "size": [lambda face, k=share: (face, detection(FRONTAL * k)) for share in (1, 0.4, 0.25, 0.1)],
    "roll": [
        lambda face, a=angle: (face, detection(rotated(FRONTAL, a))) for angle in (0, 25, 50, 75)
    ],
}


@pytest.mark.parametrize("name", FADING)
def test_the_score_falls_step_by_step(face, name):
    scores = [assess(*step(face)).score for step in FADING[name]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_crop_is_worth_nothing(level):
    assert assess(np.full((224, 224, 3), level, np.uint8), detection()).score == 0


def test_sharpness_does_not_depend_on_contrast(face):
    grey = face[..., 0]
    soft = lit(grey, 0.5, 64)
    assert sharpness(soft) == pytest.approx(sharpness(grey), rel=0.05)


def test_motion_in_one_direction_is_a_blur(face):
    shaken = cv2.blur(face[..., 0], (31, 1))
    assert sharpness(shaken) < 0.7 * sharpness(face[..., 0])
    assert sharpness(shaken.T.copy()) == pytest.approx(sharpness(shaken), rel=0.02)


@pytest.mark.parametrize(("levels", "bits"), [(1, 0), (2, 1), (16, 4), (256, 8)])
def test_entropy_counts_the_bits_of_evenly_used_grey_values(levels, bits):
    face = np.tile(np.arange(256) % levels, (16, 1)).astype(np.uint8)
    assert entropy_bits(face) == pytest.approx(bits)


def test_a_frontal_face_has_no_angles():
    np.testing.assert_allclose(head_pose_deg(FRONTAL), (0, 0, 0), atol=1.5)


TURNED_HEADS = {
    "to the image's right": (with_nose_at(70, 74), (1, 0, 0)),
    "to the image's left": (with_nose_at(42, 74), (-1, 0, 0)),
    "down": (with_nose_at(56, 84), (0, 1, 0)),
    "up": (with_nose_at(56, 64), (0, -1, 0)),
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


def test_landmarks_in_one_point_have_no_quality_and_raise_nothing(face):
    assert assess(face, detection(np.full((5, 2), 40.0))).score == 0
