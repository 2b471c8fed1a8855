"""The document of `restored evaluate` as Markdown: what is shown, then every table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from face_models.training.evaluation.tables import table
from face_models.training.restored.age_lessons import AGE_VIEWS
from face_models.training.restored.ages import STUDY_MAE
from face_models.training.restored.masks import UNSEEN_COLOURS, UNSEEN_SHAPES
from face_models.training.restored.request import AGES, PEOPLE
from face_models.training.restored.treated import (
    DIFFERENCES,
    MEAN,
    ORIGINAL,
    TOLD,
    TREATMENTS,
)
from face_models.training.restored.words import JUDGES, conclusions, limits

Document = Mapping[str, Any]
MATCH_FIGURES: Final = {
    "similarity": "similarity to the person's other photo",
    "rank_1": "rank-1",
    "auc": "AUC",
    "tar": "TAR@FAR 1e-3",
}


def markdown(document: Document) -> str:
    """Of the parts that were measured."""
    people, ages = document.get(PEOPLE), document.get(AGES)
    parts = ["# Occlusion, restored", *(line for one in document.values() for line in _made(one))]
    parts += ["## What is shown", _listed(conclusions(document))]
    parts += ["## What is not shown", _listed(limits(document))]
    if people:
        parts += ["## Match", *_match(people)]
        parts += ["## The hidden region", *_region(people)]
        parts += ["## What was filled in", _fill(people["fill"])]
    if ages:
        parts += ["## Age", *_age(ages)]
    runs = {name: run for one in document.values() for name, run in one["runs"].items()}
    parts += ["## Networks", _networks(runs)]
    return "\n\n".join(parts) + "\n"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _made(part: Document) -> Iterator[str]:
    source, drawn = part["provenance"], part["bootstrap"]
    yield f"`{source['command']}`"
    yield (
        f"Measured on {source['data']}. Commit {source['commit']}, {source['date']}, "
        f"{source['machine']}; 95 % intervals in brackets: {drawn['replicates']} draws of people, "
        f"seed {drawn['seed']}."
    )


def _match(people: Document) -> Iterator[str]:
    yield (
        f"One photo of each of {people['people']} people is enrolled, {people['probes']} others "
        f"are searched for. `{TOLD}`: where the mask is was not found but told. `{MEAN}`: the mean "
        "training face in the region that was found. Differences are of the same people."
    )
    for network, one in people["match"].items():
        told, intervals = one["figures"], one["intervals"]
        rows = [
            [name, *(_bracketed(told[name][key], intervals[name][key]) for key in MATCH_FIGURES)]
            for name in (*TREATMENTS, *DIFFERENCES)
        ]
        yield f"### {network.capitalize()}"
        yield f"Judged by {JUDGES[network]}."
        yield table(["probe", *MATCH_FIGURES.values()], rows)


def _region(document: Document) -> Iterator[str]:
    region = document["region"]
    rows = [
        [name, str(one["number"]), _bracketed(one["mean"], one["interval"])]
        for name, one in region["iou"].items()
    ]
    yield table(["masks", "faces", "mean IoU"], rows)
    yield (
        f"Never seen in training: {', '.join(UNSEEN_SHAPES)} (shape), {', '.join(UNSEEN_COLOURS)} "
        "(colours)."
    )
    yield f"{region['good_share']:.1%} of masks are found with an IoU of 0.9 or more."
    for kind, one in region["iou_by"].items():
        yield table([kind, "mean IoU"], [[name, f"{value:.3f}"] for name, value in one.items()])
    rows = [
        [name, str(one["number"]), f"{one['faces']:.2%}", f"{one['pixels']:.3%}"]
        for name, one in region["false_alarms"].items()
    ]
    yield (
        "Alarms on photos without a drawn mask (regions below "
        f"{region['smallest_share']:.0%} of the crop are not reported); what people wear and hold "
        "up themselves is among them:"
    )
    yield table(["faces", "number", "with an alarm", "pixels taken for hidden"], rows)
    rows = [
        [name, f"{one['auc']:.4f}", f"{one['correlation']:.3f}"]
        for name, one in document["hidden_share"].items()
    ]
    yield table(["hidden share by", "AUC masked / unmasked", "correlation with the truth"], rows)


def _fill(filled: Document) -> str:
    rows = [[name, _bracketed(one["mean"], one["interval"], 2)] for name, one in filled.items()]
    return table(["in the mask's place", "mean absolute difference, grey levels"], rows)


def _age(age: Document) -> Iterator[str]:
    choice = [
        [name + (" (chosen)" if name == age["chosen"] else ""), *(f"{mae[t]:.2f}" for t in mae)]
        for name, mae in age["choosing"]["mae"].items()
    ]
    yield (
        f"Learnt from {age['learned_from']} photos. Chosen by the MAE on originals of "
        f"{age['choosing']['number']} others, years:"
    )
    yield table(["network", *TREATMENTS[:3]], choice)
    yield (
        "Runs named `head` learn one affine layer on the base network, from faces as they are or, "
        "`masked`, half of them behind masks; `tuned` runs learn all of it, from views of which "
        f"{AGE_VIEWS.occlusion_chance:.0%} have a block before them."
    )
    yield "On photos that neither taught nor chose, MAE in years:"
    rows = [
        [
            name,
            *(_years(age["networks"][network], name) for network in age["networks"]),
            _study(name),
        ]
        for name in TREATMENTS
    ]
    rows += [
        [name, *(_difference(age["networks"][network], name) for network in age["networks"]), ""]
        for name in DIFFERENCES
    ]
    yield table(["photo", *age["networks"], "the study"], rows)
    chosen = age["networks"][age["chosen"]]["figures"]
    bands = list(chosen[ORIGINAL]["mae_by_age"])
    yield f"By true age, {age['chosen']}:"
    yield table(
        ["photo", *bands, "within 5 years", "bias"],
        [
            [
                name,
                *(f"{one['mae_by_age'][band]:.2f}" for band in bands),
                f"{one['within_five_years']:.1%}",
                f"{one['bias']:+.2f}",
            ]
            for name, one in chosen.items()
        ],
    )


def _years(network: Document, treatment: str) -> str:
    mae = network["figures"][treatment]["mae"]
    return _bracketed(mae["mean"], mae["interval"], 2)


def _difference(network: Document, name: str) -> str:
    one = network["differences"][name]
    return _bracketed(one["mean"], one["interval"], 2)


def _study(treatment: str) -> str:
    return f"{STUDY_MAE[treatment]:.2f}" if treatment in STUDY_MAE else ""


def _networks(runs: Document) -> str:
    rows = [
        [
            name,
            f"{one['parameters']:,}",
            str(one["steps"]),
            f"{one['examples']:,}",
            f"{one['minutes']:g}",
            str(one["seed"]),
        ]
        for name, one in runs.items()
    ]
    head = ["run", "numbers in it", "steps", "faces seen", "minutes, one shared core", "seed"]
    return table(head, rows)


def _bracketed(value: float, interval: Sequence[float], digits: int = 4) -> str:
    low, high = interval
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
