"""What is compared: the ways a network learns, which differ in the heatmap or in noise alone.

A fourth channel changes the start, too: its plane in the first convolution starts as the mean of
the others (network.py), so at its first step such a network is not the base network. `blind` has
that plane and is told nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

BASE, HEATMAP, BLIND = "base", "heatmap", "blind"


@dataclass(frozen=True)
class Arm:
    """`heat`: whose maps the fourth channel holds; "none": there is no fourth channel.

    `dropout`: chance that a photo's map is zeros in training. `noise`: chance that a photo in
    training is noisy, of a deviation up to the paper's worst. `drawn_by`: the arm whose network
    draws the maps. `told`: in a report.
    """

    told: str
    heat: Literal["none", "base", "teacher", "zero"] = "none"
    dropout: float = 0.0
    noise: float = 0.0
    drawn_by: str = BASE

    @property
    def draws_anew(self) -> bool:
        """Maps of noisy photos cannot be computed before."""
        return self.heat == "base" and self.noise > 0


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        BASE: Arm("RGB alone"),
        HEATMAP: Arm("RGB and the base network's Grad-CAM++ map, the paper's form", heat="base"),
        "heatmap-dropout": Arm(
            "as heatmap; in training 3 maps of 10 are zeros", heat="base", dropout=0.3
        ),
        "teacher-heatmap": Arm(
            "the map is the teacher's, at every test too, so nothing to serve", heat="teacher"
        ),
        BLIND: Arm("the fourth channel is zeros, always: a control", heat="zero"),
        "noisy-base": Arm("RGB alone; half of the training photos are noisy", noise=0.5),
        "noisy-heatmap": Arm(
            "heatmap of noisy-base; half of the training photos are noisy",
            heat="base",
            noise=0.5,
            drawn_by="noisy-base",
        ),
    }
)
RIVALS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        HEATMAP: (BASE, BLIND),
        "heatmap-dropout": (HEATMAP,),
        "teacher-heatmap": (HEATMAP,),
        BLIND: (BASE,),
        "noisy-base": (BASE,),
        "noisy-heatmap": ("noisy-base",),
    }
)
"""Whom an arm is compared with, where a study has both."""
