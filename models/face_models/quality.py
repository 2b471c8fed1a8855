"""Aligned crop + detection -> quality 0..100, and the names of what spoils it.

The names and, where said, the measures are those of ISO/IEC 29794-5:2025 (face image quality) and
of its reference implementation OFIQ:

    sharpness              share of fine differences that a blur takes away (Crete et al. 2007)
    noise                  deviation of the noise in grey levels (Immerkaer 1996; ours)
    under_exposure         share of the face at grey values up to 25 (OFIQ)
    over_exposure          share of the face at grey values from 247 (OFIQ)
    dynamic_range          entropy of the face's grey values (OFIQ)
    inter_eye_distance     distance of the eyes in decoded pixels, as if seen from the front
    pose_yaw, pose_pitch   degrees, estimated from the landmarks
    pose_roll              slope of the line through the eyes, degrees
    face_occlusion         share of the face that is hidden: see occlusion.py
    detection_confidence   the detector's score (ours, not in the standard)

The quality is the chance that the face is recognised, in per cent of that of a flawless face:

    quality = 100 p(sum of all losses) / p(0),    p(loss) = 1 / (1 + exp(loss - log_odds))

Each measure has a loss that never falls as the measure gets worse, straight between a few points.
They stand in weights/quality.json and are fitted to whether validation faces, as they are and
spoilt on purpose, are found among the other photos of their person (training/quality/fit.py). A
component is the quality of a face that has this one flaw; below `REASON_BELOW` it is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models import occlusion
from face_models.align import Landmarks
from face_models.detect import Detection
from face_models.errors import WeightsError
from face_models.photo import Rgb
from face_models.spec import WEIGHTS_DIR, exact_keys, read_json, write_json

QUALITY_FILE: Final = "quality.json"
SCHEMA: Final = 1
REASON_BELOW: Final = 0.8

MEASURES: Final = (
    "sharpness",
    "noise",
    "under_exposure",
    "over_exposure",
    "dynamic_range",
    "inter_eye_distance",
    "pose_yaw",
    "pose_pitch",
    "pose_roll",
    "face_occlusion",
    "detection_confidence",
)

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
FRONTAL_NOSE_SHARE: Final = 0.60
"""Where the nose lies on the way from the eyes' line to the mouth's: median of validation faces,
landmarks by our own detector."""

NOISE_MASK: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
NOISE_GAIN: Final = math.sqrt(math.pi / 2) / 6  # mean absolute answer of the mask -> deviation

Grey = NDArray[np.uint8]  # (H, W)
Differences = NDArray[np.float32]
HiddenShare = Callable[[Rgb], float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Loss in log-odds by measure: straight between the points, flat outside them."""

    measure: tuple[float, ...]  # ascending
    loss: tuple[float, ...]

    def __call__(self, value: float) -> float:
        return float(np.interp(value, self.measure, self.loss))


@dataclass(frozen=True, slots=True)
class QualityModel:
    """`log_odds` of a flawless face to be recognised, and what each measure takes from it."""

    log_odds: float
    curves: Mapping[str, Curve]

    def share(self, loss: float) -> float:
        """Chance of being recognised with this loss, as a share of a flawless face's, 0..1."""
        return (1 + math.exp(-self.log_odds)) / (1 + math.exp(loss - self.log_odds))

    def components(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Share of each flaw alone, 0..1, by name."""
        return {name: self.share(curve(measured[name])) for name, curve in self.curves.items()}

    def score(self, measured: Mapping[str, float]) -> float:
        """Quality, 0..100."""
        return 100 * self.share(sum(curve(measured[name]) for name, curve in self.curves.items()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read quality.json.

        Raises:
            WeightsError: missing, malformed, or not of the measures of this module.
        """
        keys = {"schema": int, "log_odds": float, "curves": dict, "fitted": dict}
        raw = exact_keys(read_json(path), keys, where=QUALITY_FILE)
        if raw["schema"] != SCHEMA or set(raw["curves"]) != set(MEASURES):
            raise WeightsError(f"{path} is not of schema {SCHEMA}, or of other measures.")
        curves = {name: Curve(**raw["curves"][name]) for name in MEASURES}
        return cls(raw["log_odds"], curves)

    def save(self, path: Path, fitted: Mapping[str, object]) -> None:
        curves = {name: asdict(curve) for name, curve in self.curves.items()}
        document = {"schema": SCHEMA, "log_odds": self.log_odds, "curves": curves}
        write_json(path, {**document, "fitted": dict(fitted)})


@cache
def shipped() -> QualityModel:
    """The model of the weights folder, read once."""
    return QualityModel.load(WEIGHTS_DIR / QUALITY_FILE)


@dataclass(frozen=True, slots=True)
class Quality:
    """`score` 0..100; `reasons` name what spoils the face, worst first."""

    score: int
    reasons: tuple[str, ...]


def assess(crop: Rgb, detection: Detection) -> Quality:
    """Quality of one aligned face; the detection is in pixels of the decoded photo."""
    measured = measures(crop, detection, occlusion.shipped())
    shares = shipped().components(measured)
    spoilt = sorted((share, name) for name, share in shares.items() if share < REASON_BELOW)
    return Quality(round(shipped().score(measured)), tuple(name for _, name in spoilt))


def measures(crop: Rgb, detection: Detection, hidden_share: HiddenShare) -> dict[str, float]:
    """What is measured, by name, each in its own unit; angles without their sign."""
    face = _face_region(crop)
    half = cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
    yaw, pitch, roll = head_pose_deg(detection.landmarks)
    return {
        "sharpness": sharpness(half),
        "noise": noise(half),
        "under_exposure": float(np.mean(face <= DARK_LEVEL)),
        "over_exposure": float(np.mean(face >= BRIGHT_LEVEL)),
        "dynamic_range": entropy_bits(face),
        "inter_eye_distance": eye_distance_px(detection.landmarks, yaw),
        "pose_yaw": abs(yaw),
        "pose_pitch": abs(pitch),
        "pose_roll": abs(roll),
        "face_occlusion": hidden_share(crop),
        "detection_confidence": float(detection.score),
    }


def sharpness(face: Differences) -> float:
    """How much of all fine differences a blur of 9 px takes away, 0..1; the worse direction.

    One minus the perceptual blur of Crete et al. 2007 ("The blur effect", SPIE 6492): what is
    blurred already loses little. Contrast cancels out. Measured at the template's own 112 px.
    """
    across = _lost_to_blur(np.diff(face, axis=1), np.diff(cv2.blur(face, (BLUR_PX, 1)), axis=1))
    down = _lost_to_blur(np.diff(face, axis=0), np.diff(cv2.blur(face, (1, BLUR_PX)), axis=0))
    return min(across, down)


def noise(face: Differences) -> float:
    """Standard deviation of the noise in grey levels, at the template's own 112 px.

    Immerkaer 1996 ("Fast noise variance estimation", CVIU 64-2); fine texture counts as noise.
    """
    return NOISE_GAIN * float(np.abs(cv2.filter2D(face, -1, NOISE_MASK)).mean())


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
