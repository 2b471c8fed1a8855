"""`face-models channel`: the forms beside their control as JSON, Markdown and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from face_models.training.channel.paired import FIGURES, ByAnswer, Comparison
from face_models.training.channel.runs import FormRun
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.tables import table
from face_models.training.history import mean_and_spread
from face_models.training.measure import FALSE_ACCEPT_RATE
from face_models.training.provenance import Provenance

BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"
SHIFT: Final = 0.3  # between the answers' lines of one form
TITLES: Final = {"auc": "AUC", "tar": f"TAR@FAR {FALSE_ACCEPT_RATE:g}"}

Document = Mapping[str, Any]


def document(
    runs: Sequence[FormRun], comparison: Comparison, resampling: Resampling, source: Provenance
) -> dict[str, Any]:
    config, pairs = runs[0].config, comparison.pairs
    heat = {run.form: asdict(run.config.heat) for run in runs}
    return {
        "tar_at_far": FALSE_ACCEPT_RATE,
        "start_run": config.start_run,
        "stages": [asdict(stage) for stage in config.stages],
        "people": pairs.people,
        "faces": len(pairs.known),
        "genuine_pairs": len(pairs.genuine),
        "impostor_pairs": len(pairs.impostor),
        "controls": list(comparison.differences),
        "bootstrap": asdict(resampling),
        "forms": {
            form: {
                "heat": heat[form],
                "seeds": sorted(by_seed),
                "figures": _over_seeds(by_seed),
                "minus": _minus_controls(form, comparison),
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


def _minus_controls(form: str, comparison: Comparison) -> dict[str, Any]:
    """By control; but for a control itself, and where no seed is the control's."""
    return {
        control: _with_intervals(_over_seeds(forms[form]), comparison.intervals[control][form])
        for control, forms in comparison.differences.items()
        if form in forms
    }


def _with_intervals(found: dict[str, Any], intervals: ByAnswer) -> dict[str, Any]:
    return {
        answer: {
            name: {
                **told,
                "interval": intervals[answer][name],
                "shown": verdict(told["by_seed"], intervals[answer][name]),
            }
            for name, told in figures.items()
        }
        for answer, figures in found.items()
    }


def verdict(by_seed: Sequence[float], interval: Sequence[float]) -> str:
    """Better or worse only where other people and every seed say the same, of two or more."""
    signs = set(np.sign([*by_seed, *interval]).tolist())
    if len(by_seed) < 2 or len(signs) > 1 or signs == {0.0}:
        return NOT_SHOWN
    return BETTER if signs == {1.0} else WORSE


def markdown(report: Document) -> str:
    parts = ["# Does the heatmap help?", *_introduction(report), *_conclusion(report)]
    for answer in answers_of(report):
        parts += [f"## {answer.capitalize()}", _figures(report, answer)]
    parts += ["## By seed", _by_seed(report), "## The forms", _forms(report)]
    return "\n\n".join(parts) + "\n"


def answers_of(report: Document) -> list[str]:
    return list(next(iter(report["forms"].values()))["figures"])


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
        "answer, as it is served. ±: over the seeds. Differences are between runs of one seed; in "
        "brackets the 95 % interval of their mean over the seeds, "
        f"{drawn['replicates']} draws of people, seed {drawn['seed']}, both forms on every draw."
    )
    return f"`{source['command']}`", alike, answers


def _conclusion(report: Document) -> tuple[str, str, str]:
    """In plain words what is shown, and what is not."""
    rule = (
        "A form counts as shown to be better or worse than a control where the interval leaves out "
        "0 and every seed, of at least two, has the same sign. Forms with other seeds are compared "
        "by their differences alone, not by their means."
    )
    told = [
        f"- {kind} than `{control}`: {', '.join(_named(report, control, kind)) or 'none'}"
        for control in report["controls"]
        for kind in (BETTER, WORSE)
    ]
    limits = (
        "Of all other differences nothing is shown. One in twenty intervals errs by chance. So "
        "short a training shows what a form is worth early on, not what it would come to; people "
        "are drawn anew, trainings only as many as there are seeds."
    )
    return rule, "\n".join(told), limits


def _named(report: Document, control: str, kind: str) -> list[str]:
    return [
        f"{form} ({answer}, {TITLES[name]})"
        for form, one in report["forms"].items()
        for answer, figures in one["minus"].get(control, {}).items()
        for name, told in figures.items()
        if told["shown"] == kind
    ]


def _figures(report: Document, answer: str) -> str:
    controls = report["controls"]
    head = ["form", "seeds"]
    for name in FIGURES:
        head += [TITLES[name], *(f"minus {control}" for control in controls)]
    rows = []
    for form, one in report["forms"].items():
        row = [form, str(len(one["seeds"]))]
        for name in FIGURES:
            minus = [one["minus"].get(control, {}) for control in controls]
            told = (_difference(each[answer][name]) if each else "" for each in minus)
            row += [_spread(one["figures"][answer][name]), *told]
        rows.append(row)
    return table(head, rows)


def _difference(told: Document) -> str:
    low, high = told["interval"]
    return f"{told['mean']:+.4f} ({low:+.4f} to {high:+.4f})"


def _by_seed(report: Document) -> str:
    columns = [(answer, name) for answer in answers_of(report) for name in FIGURES]
    rows = [
        [form, str(seed), *(f"{one['figures'][a][name]['by_seed'][n]:.4f}" for a, name in columns)]
        for form, one in report["forms"].items()
        for n, seed in enumerate(one["seeds"])
    ]
    return table(["form", "seed", *(f"{TITLES[name]}, {a}" for a, name in columns)], rows)


def _spread(figure: Document) -> str:
    """Mean and, of several seeds, standard deviation."""
    if "std" not in figure:
        return f"{figure['mean']:.4f}"
    return f"{figure['mean']:.4f} ± {figure['std']:.4f}"


def _forms(report: Document) -> str:
    settings = list(next(iter(report["forms"].values()))["heat"])
    rows = [
        [form, *(str(one["heat"][name]) for name in settings)]
        for form, one in report["forms"].items()
    ]
    return table(["form", *settings], rows)


def draw(report: Document, path: Path) -> None:
    """A panel per figure: mean difference to the first control with its interval, seeds as dots."""
    control = report["controls"][0]
    minus = {
        form: one["minus"][control]
        for form, one in report["forms"].items()
        if control in one["minus"]
    }
    figure = Figure(figsize=(11, 0.42 * len(minus) + 1.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), FIGURES, strict=True):
        for place, answer in enumerate(answers_of(report)):
            told = [one[answer][name] for one in minus.values()]
            _draw_differences(axes, told, answer, SHIFT * (place - 0.5))
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set(title=f"{TITLES[name]}, minus {control}", yticks=range(len(minus)))
        axes.set_yticklabels(list(minus))
        axes.grid(alpha=0.3, axis="x")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _draw_differences(axes: Axes, told: Sequence[Document], label: str, shift: float) -> None:
    heights = np.arange(len(told)) + shift
    mean = np.array([one["mean"] for one in told])
    reach = np.abs(np.array([one["interval"] for one in told]).T - mean)
    drawn = axes.errorbar(mean, heights, xerr=reach, fmt="|", capsize=3, label=label)
    for one, height in zip(told, heights, strict=True):
        dots = [height] * len(one["by_seed"])
        axes.plot(one["by_seed"], dots, ".", color=drawn.lines[0].get_color(), alpha=0.6)
