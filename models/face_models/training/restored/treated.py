"""The same faces original, masked and restored.

original           the photo
masked             a mask that follows from the photo's number and the seed
restored           what the region network found, filled in by the restoration network
restored, told     the same, but told exactly where the mask is
mean face          what was found, filled with the mean of the training faces: invents nobody
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from face_models.training.augment import Faces
from face_models.training.restored.masks import Masked, Region, masked
from face_models.training.restored.trained import Restoration

ORIGINAL, MASKED, RESTORED, TOLD, MEAN = (
    "original", "masked", "restored", "restored, told", "mean face",
)  # fmt: skip
TREATMENTS: Final = (ORIGINAL, MASKED, RESTORED, TOLD, MEAN)
DIFFERENCES: Final = {
    f"{RESTORED} - {MASKED}": (RESTORED, MASKED),
    f"{TOLD} - {MASKED}": (TOLD, MASKED),
    f"{MEAN} - {MASKED}": (MEAN, MASKED),
    f"{RESTORED} - {MEAN}": (RESTORED, MEAN),
    f"{MASKED} - {ORIGINAL}": (MASKED, ORIGINAL),
}


@dataclass(frozen=True)
class Treated:
    """The same faces under every treatment, and what was found on them."""

    worn: Sequence[Masked]
    found: Region
    faces: Mapping[str, Faces]

    @property
    def truth(self) -> Region:
        return np.stack([one.region for one in self.worn])


def treat(faces: Faces, names: Sequence[object], restoration: Restoration, seed: int) -> Treated:
    worn = [masked(face, name, seed) for face, name in zip(faces, names, strict=True)]
    hidden, truth = np.stack([one.face for one in worn]), np.stack([one.region for one in worn])
    found = restoration.found(hidden)
    return Treated(
        worn,
        found,
        {
            ORIGINAL: faces,
            MASKED: hidden,
            RESTORED: restoration.restored(hidden, found),
            TOLD: restoration.restored(hidden, truth),
            MEAN: restoration.averaged(hidden, found),
        },
    )
