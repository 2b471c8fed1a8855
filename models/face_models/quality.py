"""Aligned crop + detection -> quality 0..100, and the names of what spoils it.

The names and, where said, the measures are those of ISO/IEC 29794-5:2025 (face image quality) and
of its reference implementation OFIQ. Each component is 1 where it does no harm and falls with it:

    sharpness              share of fine differences that a blur would take away (Crete et al. 2007)
    under_exposure         share of the face at grey values up to 25 (OFIQ)
    over_exposure          share of the face at grey values from 247 (OFIQ)
    dynamic_range          entropy of the face's grey values (OFIQ)
    inter_eye_distance     distance of the eyes in decoded pixels, as if seen from the front
    pose_yaw, pose_pitch   cos^2 of the angle (OFIQ), estimated from the landmarks
    pose_roll              cos^2 of the slope of the line through the eyes
    detection_confidence   the detector's score (ours; not in the standard)

The quality is 100 x the product of all components: every shortfall takes its share. A component
below one half is named as a reason.

The ramps were set on held-out training faces, blurred, shrunk, darkened and brightened step by
step: a component is about 1 where a strong network still finds the embedding of the clean face at a
cosine of 0.9, and about one half where it finds it at 0.7. Over all those steps, quality and cosine
have a rank correlation of 0.90.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.align import Landmarks
from face_models.detect import Detection
from face_models.photo import Rgb

REASON_BELOW: Final = 0.5

DARK_LEVEL: Final = 25  # OFIQ's limits of under- and over-exposed luminance, inclusive
BRIGHT_LEVEL: Final = 247

FACE_REGION: Final = (0.22, 0.78, 0.25, 0.95)  # left, right, top, bottom, as shares of the crop
BLUR_PX: Final = 9
LEAST_DIFFERENCE: Final = 1e-6  # a flat crop has none, and no sharpness
LEAST_DISTANCE_PX: Final = 1e-3
STEEPEST_YAW_DEG: Final = 60.0  # beyond, landmarks say too little to undo foreshortening

NOSE_REACH_EYES: Final = 0.45
"""How far the nose's tip stands out from the face, in distances between the eyes."""
NOSE_REACH_HEIGHT: Final = 0.45
"""The same in distances from the eyes' line to the mouth's."""
FRONTAL_NOSE_SHARE: Final = 0.55
"""Where the nose lies on the way from the eyes' line to the mouth's: median of training photos."""

Grey = NDArray[np.uint8]  # (H, W)
Differences = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ramp:
    """Straight line from `least` at `worst` to 1 at `good`, flat outside."""

    worst: float
    good: float
    least: float = 0.0

    def __call__(self, value: float) -> float:
        risen = min(max((value - self.worst) / (self.good - self.worst), 0.0), 1.0)
        return self.least + (1 - self.least) * risen


SHARPNESS: Final = Ramp(worst=0.2, good=0.4)
UNDER_EXPOSED: Final = Ramp(worst=1.0, good=0.4, least=0.3)  # what darkness hides for good,
OVER_EXPOSED: Final = Ramp(worst=1.0, good=0.3, least=0.3)  # the dynamic range tells
ENTROPY_BITS: Final = Ramp(worst=1.5, good=5.0)
EYE_DISTANCE_PX: Final = Ramp(worst=4.0, good=16.0)
DETECTION: Final = Ramp(worst=0.2, good=0.8)


@dataclass(frozen=True, slots=True)
class Quality:
    """`score` 0..100; `reasons` name the components below one half, worst first."""

    score: int
    reasons: tuple[str, ...]


def assess(crop: Rgb, detection: Detection) -> Quality:
    """Quality of one aligned face; the detection is in pixels of the decoded photo."""
    shares = components(crop, detection)
    spoilt = sorted((share, name) for name, share in shares.items() if share < REASON_BELOW)
    return Quality(
        score=round(100 * math.prod(shares.values())),
        reasons=tuple(name for _, name in spoilt),
    )


def components(crop: Rgb, detection: Detection) -> dict[str, float]:
    """Every component's share, 0..1, by name."""
    face = _face_region(crop)
    yaw, pitch, roll = head_pose_deg(detection.landmarks)
    return {
        "sharpness": SHARPNESS(sharpness(face)),
        "under_exposure": UNDER_EXPOSED(float(np.mean(face <= DARK_LEVEL))),
        "over_exposure": OVER_EXPOSED(float(np.mean(face >= BRIGHT_LEVEL))),
        "dynamic_range": ENTROPY_BITS(entropy_bits(face)),
        "inter_eye_distance": EYE_DISTANCE_PX(eye_distance_px(detection.landmarks, yaw)),
        "pose_yaw": _cos2(yaw),
        "pose_pitch": _cos2(pitch),
        "pose_roll": _cos2(roll),
        "detection_confidence": DETECTION(detection.score),
    }


def sharpness(face: Grey) -> float:
    """How much of all fine differences a blur of 9 px takes away, 0..1; the worse direction.

    One minus the perceptual blur of Crete et al. 2007 ("The blur effect", SPIE 6492): what is
    blurred already loses little. Contrast cancels out. Measured at the template's own 112 px.
    """
    half = cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
    across = _lost_to_blur(np.diff(half, axis=1), np.diff(cv2.blur(half, (BLUR_PX, 1)), axis=1))
    down = _lost_to_blur(np.diff(half, axis=0), np.diff(cv2.blur(half, (1, BLUR_PX)), axis=0))
    return min(across, down)


def _lost_to_blur(differences: Differences, blurred: Differences) -> float:
    before, after = np.abs(differences), np.abs(blurred)
    return float(np.maximum(before - after, 0).sum() / max(float(before.sum()), LEAST_DIFFERENCE))


def entropy_bits(face: Grey) -> float:
    """Shannon entropy of the grey values, 0..8 bits."""
    shares = np.bincount(face.ravel(), minlength=256) / face.size
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def head_pose_deg(landmarks: Landmarks) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees, roughly, from where the nose lies between eyes and mouth.

    The nose's tip stands out from the plane of eyes and mouth. A head that turns by an angle
    carries it sideways (or up and down) by reach x tan(angle), in units of the foreshortened
    distance between the eyes (or of the eyes' line from the mouth's).
    Positive: the person looks to the image's right; down; the head leans to the image's right.
    """
    right_eye, left_eye, nose, right_mouth, left_mouth = np.asarray(landmarks, dtype=np.float64)
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    along = left_eye - right_eye
    roll = math.degrees(math.atan2(along[1], along[0]))
    eye_distance = max(float(np.hypot(*along)), LEAST_DISTANCE_PX)
    right, down = along / eye_distance, np.array([-along[1], along[0]]) / eye_distance
    middle = (eyes + mouth) / 2
    sideways = float((nose - middle) @ right) / eye_distance
    height = max(float((mouth - eyes) @ down), LEAST_DISTANCE_PX)
    downwards = float((nose - eyes) @ down) / height - FRONTAL_NOSE_SHARE
    yaw = math.degrees(math.atan(sideways / NOSE_REACH_EYES))
    pitch = math.degrees(math.atan(downwards / NOSE_REACH_HEIGHT))
    return yaw, pitch, roll


def eye_distance_px(landmarks: Landmarks, yaw_deg: float) -> float:
    """Distance of the eyes, its foreshortening by the yaw undone (as in ISO/IEC 29794-5)."""
    seen = float(np.hypot(*(landmarks[1] - landmarks[0])))
    return seen / math.cos(math.radians(min(abs(yaw_deg), STEEPEST_YAW_DEG)))


def _face_region(crop: Rgb) -> Grey:
    """Grey values from brow to chin and cheek to cheek, without hair and background."""
    side = crop.shape[0]
    left, right, top, bottom = (round(side * share) for share in FACE_REGION)
    return np.asarray(cv2.cvtColor(crop[top:bottom, left:right], cv2.COLOR_RGB2GRAY))


def _cos2(angle_deg: float) -> float:
    return max(math.cos(math.radians(angle_deg)), 0.0) ** 2
