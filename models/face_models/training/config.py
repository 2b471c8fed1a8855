"""One training run = one TOML file, read into frozen settings; an unknown key is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from face_models.training.augment import AugmentSettings
from face_models.training.views import ViewSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one input size, with its own warm-up and cosine decay.

    Of every batch `views_share` are views that the teacher saw too, the others photos.
    """

    input_px: int
    photos: int  # views to learn from, over as many passes as that takes
    batch: int
    peak_learning_rate: float
    warmup_share: float = 0.05
    views_share: float = 0.5


@dataclass(frozen=True)
class LossSettings:
    distillation: float = 1.0
    relations: float = 5.0
    together: float = 1.0  # heatmap network: distillation of its sum with the base network's answer
    arcface: float = 0.03
    arcface_scale: float = 32.0
    arcface_margin_rad: float = 0.3


@dataclass(frozen=True)
class HeatSettings:
    """The heatmap that a heatmap network is told, and how; by default the paper's form.

    `explains`: the score whose map is drawn. "best": the logit of the identity that the base
    network takes the face for; "top": the mean of the five best; "itself": the embedding along its
    own direction, without any identity; "nothing": no score, zeros, a control that is told nothing.
    `layer`: the map is of the last convolution block, or of ShuffleNet's third stage: four times as
    many places, but without the closed form, so for training and measuring alone (gradcam.py).
    `enters`: as fourth channel, as attention, by a branch (see FaceNetwork), or "nowhere": the base
    network trained on with the same losses.
    """

    explains: Literal["best", "top", "itself", "nothing"] = "best"
    layer: Literal["last", "stage3"] = "last"
    blur: float = 0.0  # deviation of a Gaussian over the enlarged map, in widths of the face
    power: float = 1.0  # of the map: above 1 its peaks stand out more
    enters: Literal["channel", "attention", "branch", "nowhere"] = "channel"

    def __post_init__(self) -> None:
        if not 0 <= self.blur <= MOST_BLUR:
            raise ValueError(f"blur is from 0 to {MOST_BLUR}, not {self.blur}")
        if self.power <= 0:
            raise ValueError(f"power is above 0, not {self.power}")


MOST_BLUR = 0.3  # a wider one leaves of a map only where its middle is

NO_CHANGE = AugmentSettings(
    mirror_chance=0.0, scale=0.0, turn_deg=0.0, shift=0.0, brightness=0.0, contrast=0.0,
    saturation=0.0, gamma=0.0, cast=0.0, grey_chance=0.0, blur_chance=0.0, shrink_chance=0.0,
    noise_chance=0.0, occlusion_chance=0.0,
)  # fmt: skip
DAMAGE = replace(
    NO_CHANGE, mirror_chance=0.5, blur_chance=0.05, shrink_chance=0.15, noise_chance=0.15,
    occlusion_chance=0.2,
)  # fmt: skip
"""What a view suffers on its way from the teacher to the student."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, but the data and the code."""

    name: str  # of the run's folder
    backbone: str
    seed: int
    stages: tuple[Stage, ...]
    init: str = ""  # backbone weights: a file of the data folder, or "imagenet" from their hub
    start_run: str = ""  # goes on from this run, "shipped", "shipped-heatmap" or "laboratory"
    base_run: str = ""  # this run or "shipped" draws the heatmaps; heatmap network only
    precomputed_heatmaps: bool = False  # the paper's form: photos as they are, heatmaps from disk
    weight_decay: float = 0.05
    ema_decay: float = 0.999
    min_photos: int = 2
    max_photos: int = 0  # people of more are not learnt from at all; 0: no limit
    heat: HeatSettings = field(default_factory=HeatSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    damage: AugmentSettings = DAMAGE
    views: ViewSettings = field(default_factory=ViewSettings)

    def __post_init__(self) -> None:
        if self.precomputed_heatmaps and self.heat != HeatSettings():
            raise ValueError("precomputed_heatmaps are in the paper's form: [heat] changes it")
        if self.heat.layer != "last" and not self.backbone.startswith("shufflenet"):
            raise ValueError(f"{self.backbone} has no layer {self.heat.layer}")


def read_config(path: Path) -> RunConfig:
    """Raises ValueError naming the unknown or missing key, or the value that a key cannot have."""
    raw = tomllib.loads(path.read_text())
    raw["stages"] = tuple(_build(Stage, stage, path) for stage in raw.get("stages", []))
    raw["heat"] = _build(HeatSettings, raw.get("heat", {}), path)
    raw["loss"] = _build(LossSettings, raw.get("loss", {}), path)
    raw["augment"] = _build(AugmentSettings, raw.get("augment", {}), path)
    raw["damage"] = _build(AugmentSettings, {**asdict(DAMAGE), **raw.get("damage", {})}, path)
    raw["views"] = _build(ViewSettings, raw.get("views", {}), path)
    return _build(RunConfig, raw, path)


def _build(kind: type[T], values: Mapping[str, Any], path: Path) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{path.name}: {kind.__name__} has no key {', '.join(unknown)}")
    try:
        _refuse_unlisted(kind, values)
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: {kind.__name__}: {error}") from error


def _refuse_unlisted(kind: type, values: Mapping[str, Any]) -> None:
    """Raises ValueError where a key that has its values listed (Literal) has another one."""
    listed = {
        key: get_args(hint)
        for key, hint in get_type_hints(kind).items()
        if get_origin(hint) is Literal
    }
    for key in listed.keys() & values.keys():
        if values[key] not in listed[key]:
            choices = ", ".join(f'"{choice}"' for choice in listed[key])
            raise ValueError(f'{key} is one of {choices}, not "{values[key]}"')
