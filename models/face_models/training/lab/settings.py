"""One laboratory run = one TOML file, read into frozen settings; an unknown key is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab.arms import ARMS, BASE, HEATMAP
from face_models.training.network import BACKBONES
from face_models.training.restored.settings import KINDS, read_run

T = TypeVar("T")
SOURCES = ("aihub", "yaleb", "identities", "drawn")
RANDOM, IMAGENET, DISTILLED = "random", "imagenet", "distilled"


@dataclass(frozen=True)
class Lesson:
    """How every arm of a study learns: same photos, order, steps and losses."""

    epochs: int
    batch: int = 32
    peak_learning_rate: float = 1e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.05
    mirror_chance: float = 0.5
    arcface_scale: float = 30.0
    arcface_margin_rad: float = 0.3


@dataclass(frozen=True)
class Study:
    """One set of photos and the networks that learn it.

    `start`: by backbone "random", "imagenet" (torchvision's weights, fetched from their hub),
    "distilled" (this repository's, see starts.py) or a file of the data folder; `start_study`
    instead: an earlier study's base network of the same backbone, first seed. `validation_photos`:
    at most so many, drawn evenly from the people; 0 all.
    `settings`: what the source wants to know, see sources/.
    """

    name: str
    source: str
    backbones: tuple[str, ...]
    seeds: tuple[int, ...]
    lesson: Lesson
    start: Mapping[str, str] = field(default_factory=dict)
    start_study: str = ""
    beyond: tuple[str, ...] = ()  # arms besides base and heatmap
    beyond_backbones: tuple[str, ...] = ()
    validation_photos: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def arms(self, backbone: str) -> tuple[str, ...]:
        further = self.beyond if backbone in self.beyond_backbones else ()
        return (BASE, HEATMAP, *further)


@dataclass(frozen=True)
class LabConfig:
    """`published`: the paper's figures as far as somebody has them.

    Their keys: "table1/STUDY/BACKBONE/ARM/CONDITION/macro_f1" (or accuracy),
    "table2/STUDY/BACKBONE/FORM/CONDITION", "slope/STUDY/BACKBONE/ARM/CURVE",
    "lfw/BACKBONE/ARM/auc" (or eer); names as in the report, backbones as in the config.
    """

    name: str
    input_px: int
    studies: tuple[Study, ...]
    occlusion_repeats: int = 3  # places of the occluding rectangle, averaged
    lfw: str = ""  # folder of pairs.csv, faces.csv and photos/ in the data folder; "": none
    lfw_study: str = ""  # whose networks are measured on it
    maps_study: str = ""  # whose base network's maps are compared; "": the first study's
    maps_photos: int = 24  # of its validation photos, for deletion and insertion
    bootstrap_draws: int = 1000
    sign_flips: int = 10000
    seed: int = 0  # of conditions, samples and draws; networks have their studies' seeds
    published: Mapping[str, float] = field(default_factory=dict)
    restored: tuple[Path, ...] = ()  # runs of the study of masked faces, see restored/settings.py

    def study(self, name: str) -> Study:
        return next(one for one in self.studies if one.name == name)


def read_config(path: Path) -> LabConfig:
    """Raises UnusableInput naming the key that is unknown, missing or of no known value."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UnusableInput(f"{path.name}: {error}.") from error
    raw["studies"] = tuple(_study(one, path) for one in raw.get("studies", []))
    raw["restored"] = tuple(path.parent / name for name in raw.get("restored", ()))
    config = _build(LabConfig, raw, path)
    _check(config, path)
    return config


def _study(raw: Mapping[str, Any], path: Path) -> Study:
    values = {key: tuple(one) if isinstance(one, list) else one for key, one in raw.items()}
    values["lesson"] = _build(Lesson, raw.get("lesson", {}), path)
    return _build(Study, values, path)


def _build(kind: type[T], values: Mapping[str, Any], path: Path) -> T:
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    unknown = sorted(set(values) - known)
    if unknown:
        raise UnusableInput(f"{path.name}: {kind.__name__} has no key {', '.join(unknown)}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise UnusableInput(f"{path.name}: {kind.__name__}: {error}.") from error


def _check(config: LabConfig, path: Path) -> None:
    names: list[str] = []
    for study in config.studies:
        _check_study(study, names, f"{path.name}: {{}} of {study.name}".format)
        names.append(study.name)
    if not names:
        raise UnusableInput(f"{path.name} has no [[studies]].")
    _unlike(names, f"{path.name}: names of studies")
    _positive(config.occlusion_repeats, f"{path.name}: occlusion_repeats")
    _positive(config.input_px, f"{path.name}: input_px")
    if bool(config.lfw) != bool(config.lfw_study):
        raise UnusableInput(f"{path.name}: lfw and lfw_study, or neither.")
    for key in ("lfw_study", "maps_study"):
        if getattr(config, key):
            _among(getattr(config, key), names, f"{path.name}: {key}")
    _check_restored(config.restored)


def _check_study(study: Study, earlier: list[str], called: Callable[[str], str]) -> None:
    _among(study.source, SOURCES, called("source"))
    for backbone in (*study.backbones, *study.start):
        _among(backbone, tuple(BACKBONES), called("backbone"))
    for backbone in study.beyond_backbones:
        _among(backbone, study.backbones, called("beyond_backbones"))
    for arm in study.beyond:
        _among(arm, tuple(one for one in ARMS if one not in (BASE, HEATMAP)), called("arm"))
        _among(ARMS[arm].drawn_by, (BASE, *study.beyond), called(f"who draws for {arm}"))
    if bool(study.beyond) != bool(study.beyond_backbones):
        raise UnusableInput(f"{called('beyond')}: arms and backbones, or neither.")
    _unlike(study.seeds, called("seeds"))
    _unlike(study.backbones, called("backbones"))
    _positive(study.lesson.epochs, called("epochs"))
    if study.start_study:
        _among(study.start_study, earlier, called("start_study"))


def _check_restored(runs: Sequence[Path]) -> None:
    """All three kinds are needed: what finds a mask, what fills it in, what tells an age."""
    try:
        kinds = {read_run(path).kind for path in runs}
    except (OSError, ValueError) as error:
        raise UnusableInput(f"restored: {error}") from error
    if runs and kinds != set(KINDS):
        raise UnusableInput(f"restored: no run of kind {', '.join(sorted(set(KINDS) - kinds))}.")


def _unlike(values: object, what: str) -> None:
    if not isinstance(values, tuple | list) or not values:
        raise UnusableInput(f"{what} is a list of one or more, not {values!r}.")
    if len(set(values)) < len(values):
        raise UnusableInput(f"{what}: {', '.join(map(str, values))} has one twice.")


def _positive(value: object, what: str) -> None:
    if not isinstance(value, int) or value < 1:
        raise UnusableInput(f"{what} is a whole number from 1 on, not {value!r}.")


def _among(value: str, known: tuple[str, ...] | list[str], what: str) -> None:
    if value not in known:
        raise UnusableInput(f"{what} is one of {', '.join(known) or 'none yet'}, not {value!r}.")
