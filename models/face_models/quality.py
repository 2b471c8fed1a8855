"""Aligned crop + detection -> quality 0..100, and the names of what spoils it.

The names and, where said, the measures are those of ISO/IEC 29794-5:2025 (face image quality) and
of its reference implementation OFIQ. Each component is 1 where it does no harm and falls to 0:

    sharpness              energy of the Laplacian over the face, relative to its contrast
    under_exposure         share of the face darker than 26 of 255
    over_exposure          share of the face brighter than 246 of 255
    dynamic_range          entropy of the face's grey values, in bits
    inter_eye_distance     distance of the eyes in decoded pixels
    pose_yaw, pose_pitch   cos² of the angle (OFIQ), estimated from the landmarks
    pose_roll              cos² of the slope of the line through the eyes
    detection_confidence   the detector's score (ours; not in the standard)

The quality is 100 x the product of all components: every shortfall takes its share. A component
below one half is named as a reason.
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
LEAST_VARIANCE: Final = 1.0  # of grey values: below, a crop is flat and has no sharpness
LEAST_DISTANCE_PX: Final = 1e-3

NOSE_REACH_EYES: Final = 0.45
"""How far the nose's tip stands out from the face, in distances between the eyes."""
NOSE_REACH_HEIGHT: Final = 0.45
"""The same in distances from the eyes' line to the mouth's."""
FRONTAL_NOSE_SHARE: Final = 0.495
"""Where the template's nose lies on the way from the eyes' line to the mouth's."""

Grey = NDArray[np.uint8]  # (H, W)


@dataclass(frozen=True, slots=True)
class Ramp:
    """Straight line from 0 at `worst` to 1 at `good`, flat outside."""

    worst: float
    good: float

    def __call__(self, value: float) -> float:
        return min(max((value - self.worst) / (self.good - self.worst), 0.0), 1.0)


SHARPNESS: Final = Ramp(worst=0.0, good=0.02)
UNDER_EXPOSED: Final = Ramp(worst=0.9, good=0.3)
OVER_EXPOSED: Final = Ramp(worst=0.6, good=0.1)
ENTROPY_BITS: Final = Ramp(worst=2.0, good=6.0)
EYE_DISTANCE_PX: Final = Ramp(worst=4.0, good=24.0)
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
        "inter_eye_distance": EYE_DISTANCE_PX(_eye_distance_px(detection.landmarks)),
        "pose_yaw": _cos2(yaw),
        "pose_pitch": _cos2(pitch),
        "pose_roll": _cos2(roll),
        "detection_confidence": DETECTION(detection.score),
    }


def sharpness(face: Grey) -> float:
    """Mean squared Laplacian over the grey values' variance: fine detail per contrast.

    Measured at half the crop's scale, the template's own 112 px, where interpolation and sensor
    noise count less. The relation to contrast keeps soft light from passing for blur.
    """
    half = cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    laplacian = cv2.Laplacian(half, cv2.CV_32F)
    return float(np.mean(laplacian**2) / max(float(half.var()), LEAST_VARIANCE))


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


def _face_region(crop: Rgb) -> Grey:
    """Grey values from brow to chin and cheek to cheek, without hair and background."""
    side = crop.shape[0]
    left, right, top, bottom = (round(side * share) for share in FACE_REGION)
    return np.asarray(cv2.cvtColor(crop[top:bottom, left:right], cv2.COLOR_RGB2GRAY))


def _eye_distance_px(landmarks: Landmarks) -> float:
    return float(np.hypot(*(landmarks[1] - landmarks[0])))


def _cos2(angle_deg: float) -> float:
    return max(math.cos(math.radians(angle_deg)), 0.0) ** 2
