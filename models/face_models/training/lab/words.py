"""What is and what is not shown, in sentences made of the figures and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from face_models.training.lab.arms import HEATMAP
from face_models.training.lab.maps import CONTROL
from face_models.training.lab.paired import BETTER, LEVEL, NOT_SHOWN, WORSE

SHORT: Final[Mapping[str, str]] = {
    "shufflenet_v2_x1_0": "ShuffleNetV2",
    "mobilenet_v3_large": "MobileNetV3-Large",
    "efficientnet_b0": "EfficientNet-B0",
}
FEWEST_PHOTOS: Final = 10

Numbers = Mapping[str, Any]


def findings(document: Numbers) -> list[str]:
    return [
        *(line for name, study in document["studies"].items() for line in _study(name, study)),
        *(_lfw(document["lfw"]) if "lfw" in document else ()),
        *_maps(document["maps"]),
    ]


def _study(name: str, study: Numbers) -> Iterator[str]:
    rows = study["compared"]
    for arm, rival in dict.fromkeys((row["arm"], row["rival"]) for row in rows):
        asked = [row for row in rows if (row["arm"], row["rival"]) == (arm, rival)]
        yield f"**{name}: {arm} against {rival}.** {_tally(asked)} {_shown(asked)}".strip()
    if len(study["seeds"]) == 1:
        yield f"**{name}** has one seed: what is shown there, is shown of these trainings alone."
    yield f"**{name}: slopes.** {_slopes(study)}"


def _tally(rows: Sequence[Numbers]) -> str:
    counts = {kind: sum(row["verdict"] == kind for row in rows) for kind in (BETTER, WORSE)}
    rest = len(rows) - sum(counts.values())
    return (
        f"Of {len(rows)} comparisons {counts[BETTER]} are shown better, {counts[WORSE]} worse, "
        f"{rest} show nothing (shown is: Holm-adjusted p below {LEVEL:g}, an interval without 0)."
    )


def _shown(rows: Sequence[Numbers]) -> str:
    return " ".join(
        f"{SHORT[row['backbone']]}, {row['condition']}: {row['verdict']}, macro-F1 "
        f"{row['macro_f1']:+.3f} {interval(row['macro_f1_interval'])}, accuracy "
        f"{row['accuracy']:+.3f}."
        for row in rows
        if row["verdict"] != NOT_SHOWN
    )


def _slopes(study: Numbers) -> str:
    """How often the heatmap network's curve falls less, where the base network's falls."""
    pairs = [
        (networks[HEATMAP]["slopes"][title], slope)
        for networks in study["networks"].values()
        for title, slope in networks["base"]["slopes"].items()
        if slope < 0
    ]
    flatter = sum(ours > theirs for ours, theirs in pairs)
    return (
        f"The heatmap network's macro-F1 falls less with severity than the base network's in "
        f"{flatter} of the {len(pairs)} curves that fall (counted, not tested; a network that "
        "starts lower has less to lose)."
    )


def _lfw(lfw: Numbers) -> Iterator[str]:
    differences = lfw["heatmap_minus_base"]
    for backbone, difference in differences["auc"].items():
        bounds = differences["auc_interval"].get(backbone)
        if bounds is None:
            continue
        yield (
            f"**LFW, {SHORT[backbone]}.** AUC of heatmap minus base {difference:+.4f} "
            f"{interval(bounds, 4)}: {_side(bounds, 'higher', 'lower')} (other people, these "
            "trainings; not adjusted for several backbones)."
        )


def _maps(maps: Numbers) -> Iterator[str]:
    if maps["photos"] < FEWEST_PHOTOS:
        yield f"**Maps.** {maps['photos']} photos are too few to call a map faithful."
        return
    for name, areas in maps["areas"].items():
        if name == CONTROL:
            continue
        deletion, insertion = areas["deletion"], areas["insertion"]
        yield (
            f"**{name}** against the map that knows but the middle of the face, {maps['photos']} "
            f"photos: deletion {deletion['minus_control']:+.3f} {interval(deletion['interval'])}, "
            f"{_side(deletion['interval'], 'less faithful', 'more faithful')}; insertion "
            f"{insertion['minus_control']:+.3f} {interval(insertion['interval'])}, "
            f"{_side(insertion['interval'], 'more faithful', 'less faithful')}."
        )


def _side(bounds: Sequence[float], above: str, below: str) -> str:
    if bounds[0] > 0:
        return above
    return below if bounds[1] < 0 else "no difference shown"


def interval(bounds: Sequence[float], digits: int = 3) -> str:
    return f"[{bounds[0]:+.{digits}f}, {bounds[1]:+.{digits}f}]"
