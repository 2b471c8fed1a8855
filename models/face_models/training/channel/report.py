"""`face-models channel`: the forms beside their control as JSON, Markdown and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from face_models.training.channel.paired import FIGURES, ByAnswer, Comparison
from face_models.training.channel.runs import FormRun
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.tables import table
from face_models.training.history import mean_and_spread
from face_models.training.measure import FALSE_ACCEPT_RATE
from face_models.training.provenance import Provenance

BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"
TITLES: Final = {"auc": "AUC", "tar": f"TAR@FAR {FALSE_ACCEPT_RATE:g}"}

Document = Mapping[str, Any]


def document(
    runs: Sequence[FormRun],
    comparison: Comparison,
    control: str,
    resampling: Resampling,
    source: Provenance,
) -> dict[str, Any]:
    config = runs[0].config
    pairs = comparison.pairs
    heat = {run.form: asdict(run.config.heat) for run in runs}
    return {
        "control": control,
        "tar_at_far": FALSE_ACCEPT_RATE,
        "start_run": config.start_run,
        "stages": [asdict(stage) for stage in config.stages],
        "people": pairs.people,
        "faces": len(pairs.known),
        "genuine_pairs": len(pairs.genuine),
        "impostor_pairs": len(pairs.impostor),
        "bootstrap": asdict(resampling),
        "forms": {
            form: {
                "heat": heat[form],
                "seeds": sorted(by_seed),
                "figures": _over_seeds(by_seed),
                "minus_control": _compared(form, comparison),
            }
            for form, by_seed in comparison.figures.items()
        },
        "provenance": asdict(source),
    }


def _over_seeds(by_seed: Mapping[int, ByAnswer]) -> dict[str, Any]:
    """By answer and figure: mean, spread and every seed's value, in the order of the seeds."""
    answers = [by_seed[seed] for seed in sorted(by_seed)]
    values = {
        answer: {name: [one[answer][name] for one in answers] for name in FIGURES}
        for answer in answers[0]
    }
    return {
        answer: {
            name: {**mean_and_spread(of_seeds), "by_seed": of_seeds}
            for name, of_seeds in figures.items()
        }
        for answer, figures in values.items()
    }


def _compared(form: str, comparison: Comparison) -> dict[str, Any]:
    """Nothing for the control, and for a form without a seed of the control's."""
    if form not in comparison.differences:
        return {}
    found = _over_seeds(comparison.differences[form])
    for answer, figures in found.items():
        for name, told in figures.items():
            told["interval"] = comparison.intervals[form][answer][name]
            told["shown"] = verdict(told["by_seed"], told["interval"])
    return found


def verdict(by_seed: Sequence[float], interval: Sequence[float]) -> str:
    """Better or worse only where other people and every seed say the same, of two or more."""
    signs = set(np.sign([*by_seed, *interval]).tolist())
    if len(by_seed) < 2 or len(signs) > 1 or signs == {0.0}:
        return NOT_SHOWN
    return BETTER if signs == {1.0} else WORSE


def markdown(report: Document) -> str:
    answers = list(dict.fromkeys(a for one in report["forms"].values() for a in one["figures"]))
    parts = ["# Does the heatmap help?", *_introduction(report), *_conclusion(report)]
    for answer in answers:
        parts += [f"## {answer.capitalize()}", _figures(report, answer)]
    parts += ["## The forms", _forms(report)]
    return "\n\n".join(parts) + "\n"


def _introduction(report: Document) -> tuple[str, str, str]:
    source, drawn = report["provenance"], report["bootstrap"]
    stages = [f"{one['photos']:,} views at {one['input_px']} px" for one in report["stages"]]
    alike = (
        f"Every run starts from `{report['start_run']}` and has the same budget "
        f"({', '.join(stages)}), photos, losses and seeds; only the form of the heatmap differs. "
        f"Measured on all pairs of {report['faces']:,} faces of {report['people']} validation "
        f"people. Commit {source['commit']}, {source['date']}, {source['machine']}."
    )
    answers = (
        "`alone`: what the trained network answers; `together`: the sum with the base network's "
        f"answer, as it is served. Differences are to `{report['control']}` with the same seed; in "
        "brackets the 95 % interval of the mean difference over the seeds, "
        f"{drawn['replicates']} draws of people, seed {drawn['seed']}, both forms on every draw."
    )
    return f"`{source['command']}`", alike, answers


def _conclusion(report: Document) -> tuple[str, str, str]:
    """In plain words what is shown, and what is not."""
    rule = (
        f"A form counts as shown to be better or worse than `{report['control']}` where the "
        "interval leaves out 0 and every seed has the same sign."
    )
    told = [
        f"- {kind}: {', '.join(_named(report, kind)) or 'none'}"
        for kind in (BETTER, WORSE, NOT_SHOWN)
    ]
    limits = (
        "One in twenty intervals errs by chance. So short a training shows what a form is worth "
        "early on, not what it would come to; people are drawn anew, trainings only as many as "
        "there are seeds."
    )
    return rule, "\n".join(told), limits


def _named(report: Document, kind: str) -> list[str]:
    return [
        f"{form} ({answer}, {TITLES[name]})"
        for form, one in report["forms"].items()
        for answer, figures in one["minus_control"].items()
        for name, told in figures.items()
        if told["shown"] == kind
    ]


def _figures(report: Document, answer: str) -> str:
    control = report["control"]
    head = ["form", "seeds"]
    for name in FIGURES:
        head += [TITLES[name], f"minus {control}", "by seed"]
    rows = []
    for form, one in report["forms"].items():
        row = [form, ", ".join(map(str, one["seeds"]))]
        for name in FIGURES:
            minus = one["minus_control"].get(answer, {}).get(name)
            row += [spread(one["figures"][answer][name]), *(_minus(minus) if minus else ("", ""))]
        rows.append(row)
    return table(head, rows)


def spread(figure: Document) -> str:
    """Mean and, of several seeds, standard deviation."""
    if "std" not in figure:
        return f"{figure['mean']:.4f}"
    return f"{figure['mean']:.4f} ± {figure['std']:.4f}"


def _minus(told: Document) -> tuple[str, str]:
    low, high = told["interval"]
    by_seed = ", ".join(f"{value:+.4f}" for value in told["by_seed"])
    return f"{told['mean']:+.4f} ({low:+.4f} to {high:+.4f})", by_seed


def _forms(report: Document) -> str:
    settings = list(next(iter(report["forms"].values()))["heat"])
    rows = [
        [form, *(str(one["heat"][name]) for name in settings)]
        for form, one in report["forms"].items()
    ]
    return table(["form", *settings], rows)


def draw(report: Document, path: Path) -> None:
    """A panel per figure: mean difference to the control with its interval, seeds as dots."""
    forms = [form for form, one in report["forms"].items() if one["minus_control"]]
    figure = Figure(figsize=(11, 0.42 * len(forms) + 1.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), FIGURES, strict=True):
        for shift, answer in ((-0.15, "alone"), (0.15, "together")):
            told = [report["forms"][form]["minus_control"][answer][name] for form in forms]
            heights = np.arange(len(forms)) + shift
            mean = np.array([one["mean"] for one in told])
            reach = np.abs(np.array([one["interval"] for one in told]).T - mean)
            drawn = axes.errorbar(mean, heights, xerr=reach, fmt="|", capsize=3, label=answer)
            for one, height in zip(told, heights, strict=True):
                seeds = one["by_seed"]
                colour = drawn.lines[0].get_color()
                axes.plot(seeds, [height] * len(seeds), ".", color=colour, alpha=0.6)
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set(title=f"{TITLES[name]}, minus {report['control']}", yticks=range(len(forms)))
        axes.set_yticklabels(forms)
        axes.grid(alpha=0.3, axis="x")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
