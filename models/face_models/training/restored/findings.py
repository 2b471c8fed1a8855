"""How well the region is found, the age told, the hole filled: figures with bootstrap intervals.

The bootstrap draws people (for ages: groups of photos that may be one person).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from face_models import occlusion
from face_models.extras import SMALLEST_SHARE
from face_models.training.augment import Faces
from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.restored.lessons import iou
from face_models.training.restored.masks import Masked, Region, is_seen
from face_models.training.robustness.measure import auc

GOOD_IOU: Final = 0.9
AGE_BANDS: Final = ((0, 12), (13, 25), (26, 45), (46, 65), (66, 116))
CLOSE_YEARS: Final = 5

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


def mean_with_interval(values: Values, unit: Numbers, resampling: Resampling) -> dict[str, Any]:
    """Of values whose `unit` (a person) is what the bootstrap draws."""
    units, unit = np.unique(unit, return_inverse=True)

    def figures(counts: Values) -> dict[str, Any] | None:
        weights = counts[unit]
        return {"mean": float(np.average(values, weights=weights))} if weights.sum() else None

    told = bootstrap.intervals(figures, len(units), resampling)
    return {"mean": float(values.mean()), "interval": told["mean"], "number": len(values)}


def region_figures(
    worn: Sequence[Masked],
    found: Region,
    found_on_clean: Mapping[str, Region],
    person: Numbers,
    resampling: Resampling,
) -> dict[str, Any]:
    """`found` of the masked faces; `found_on_clean` of faces without one, by source."""
    overlap = np.array([iou(told, one.region) for told, one in zip(found, worn, strict=True)])
    seen = np.array([is_seen(one.style.shape, one.style.colour) for one in worn])
    kinds: dict[str, Callable[[Masked], str]] = {
        "shape": lambda one: one.style.shape,
        "colour": lambda one: one.style.colour,
        "pattern": lambda one: one.style.pattern,
    }
    return {
        "iou": {
            "all": mean_with_interval(overlap, person, resampling),
            "seen in training": mean_with_interval(overlap[seen], person[seen], resampling),
            "never seen": mean_with_interval(overlap[~seen], person[~seen], resampling),
        },
        "good_share": float((overlap >= GOOD_IOU).mean()),
        "missed_share": float((~found.any(axis=(1, 2))).mean()),
        "iou_by": {name: _by(kind, worn, overlap) for name, kind in kinds.items()},
        "false_alarms": {
            source: {
                "number": len(told),
                "faces": float(told.any(axis=(1, 2)).mean()),
                "pixels": float(told.mean()),
            }
            for source, told in found_on_clean.items()
        },
        "smallest_share": SMALLEST_SHARE,
    }


def _by(kind: Callable[[Masked], str], worn: Sequence[Masked], values: Values) -> dict[str, float]:
    names = np.array([kind(one) for one in worn])
    return {str(name): float(values[names == name].mean()) for name in np.unique(names)}


def beside_shipped_measure(
    faces: tuple[Faces, Faces], told: tuple[Values, Values], truth: Values
) -> dict[str, dict[str, float]]:
    """The share hidden as the region has it, and as quality.face_occlusion does (of the face).

    Pairs are of faces as they are and masked. `auc`: a masked face is told from an unmasked one;
    `correlation`: with the mask's true share.
    """
    shipped = occlusion.shipped()
    without, with_mask = (np.array([shipped(face) for face in some]) for some in faces)
    pairs = {"region": told, "quality.face_occlusion": (without, with_mask)}
    return {
        name: {"auc": auc(hidden, clean), "correlation": float(np.corrcoef(hidden, truth)[0, 1])}
        for name, (clean, hidden) in pairs.items()
    }


def fill_figures(
    truth: Faces, filled: Mapping[str, Faces], hole: Region, person: Numbers, resampling: Resampling
) -> dict[str, Any]:
    """Mean absolute difference from the unmasked photo within the mask, in grey levels."""
    return {
        name: mean_with_interval(
            np.array(
                [
                    np.abs(told[where].astype(float) - face[where]).mean()
                    for told, face, where in zip(faces, truth, hole, strict=True)
                ]
            ),
            person,
            resampling,
        )
        for name, faces in filled.items()
    }


def age_figures(
    told: Mapping[str, NDArray[np.float32]],
    years: NDArray[np.float32],
    group: Numbers,
    resampling: Resampling,
) -> dict[str, Any]:
    """By treatment: MAE in years, the share within five years, bias, MAE by band of true age."""
    return {name: _age(guess - years, years, group, resampling) for name, guess in told.items()}


def _age(
    error: NDArray[np.float32], years: NDArray[np.float32], group: Numbers, resampling: Resampling
) -> dict[str, Any]:
    off = np.abs(error).astype(np.float64)
    bands = {f"{low}-{high}": (years >= low) & (years <= high) for low, high in AGE_BANDS}
    return {
        "mae": mean_with_interval(off, group, resampling),
        "within_five_years": float((off <= CLOSE_YEARS).mean()),
        "bias": float(error.mean()),
        "mae_by_age": {name: float(off[of].mean()) for name, of in bands.items() if of.any()},
    }


def age_difference(
    these: NDArray[np.float32],
    those: NDArray[np.float32],
    years: NDArray[np.float32],
    group: Numbers,
    resampling: Resampling,
) -> dict[str, Any]:
    """MAE of these minus MAE of those, on the same faces."""
    difference = np.abs(these - years) - np.abs(those - years)
    return mean_with_interval(difference.astype(np.float64), group, resampling)
