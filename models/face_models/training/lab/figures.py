"""What a study's answers amount to: table 1, figure 3 with its slopes, table 2, comparisons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from face_models.training.history import mean_and_spread
from face_models.training.lab.answers import FORMS, NORMAL
from face_models.training.lab.arms import ARMS, HEATMAP, RIVALS
from face_models.training.lab.bench import Bench, Trial
from face_models.training.lab.exposures import TABLE_SEVERITIES, Exposure
from face_models.training.lab.learning import CURVE_FILE
from face_models.training.lab.paired import (
    FIGURES,
    BySeed,
    Difference,
    Resampling,
    compare,
    holm,
    verdict,
)
from face_models.training.lab.photos import Rows
from face_models.training.lab.scores import score
from face_models.training.lab.settings import Study
from face_models.training.robustness.conditions import PAPER_SEVERITIES
from face_models.training.robustness.photos import CLEAN

CONDITIONS: Final = (CLEAN, *TABLE_SEVERITIES)
UNSPOILT: Final = {"brightness": 1.0}  # severity of a photo as it is; 0 elsewhere
PER: Final = 0.1  # severity that a slope is told for

Answers = Mapping[str, Rows]
Numbers = dict[str, Any]


def study_document(bench: Bench, study: Study) -> Numbers:
    """Everything but LFW and the maps; every network is trained and measured by now."""
    _, photos = bench.photos_of(study)
    networks = {
        backbone: {arm: _network(bench, study, backbone, arm) for arm in study.arms(backbone)}
        for backbone in study.backbones
    }
    rows = [*_compared(bench, study), *_forms_compared(bench, study)]
    return {
        "source": study.source,
        "people": photos.people,
        "learnt": len(photos.to_learn()),
        "validated": len(bench.validated(study)),
        "lesson": asdict(study.lesson),
        "seeds": list(study.seeds),
        "start": _start(study),
        "networks": networks,
        "forms": {backbone: _forms(bench, study, backbone) for backbone in study.backbones},
        "compared": _judged(rows),
    }


def _start(study: Study) -> dict[str, str]:
    if study.start_study:
        return dict.fromkeys(study.backbones, f"base network of {study.start_study}")
    return {backbone: study.start.get(backbone, "random") for backbone in study.backbones}


def _trials(study: Study, backbone: str, arm: str) -> list[Trial]:
    return [Trial(study, backbone, arm, seed) for seed in study.seeds]


def _network(bench: Bench, study: Study, backbone: str, arm: str) -> Numbers:
    trials = _trials(study, backbone, arm)
    answers = {trial.seed: bench.answers(trial) for trial in trials}
    exposures = list(dict.fromkeys((one.name, one.severity) for one in bench.exposures(trials[0])))
    curves = [bench.network(trial).folder / CURVE_FILE for trial in trials]
    found = {
        (name, severity): _scored(bench, study, answers, name, severity)
        for name, severity in exposures
    }
    severities = [
        {"condition": name, "severity": severity, **one} for (name, severity), one in found.items()
    ]
    return {
        "told": ARMS[arm].told,
        "table": {name: found[name, TABLE_SEVERITIES.get(name, 0.0)] for name in CONDITIONS},
        "severities": severities,
        "slopes": slopes(severities),
        "curves": {
            str(trial.seed): json.loads(file.read_text())["macro_f1"]
            for trial, file in zip(trials, curves, strict=True)
        },
    }


def _scored(
    bench: Bench, study: Study, answers: Mapping[int, Answers], name: str, severity: float
) -> Numbers:
    """Each figure over the seeds; places of an occlusion are averaged within a seed."""
    _, photos = bench.photos_of(study)
    truth = photos.person[bench.validated(study)]
    by_seed = {seed: _repeats(one, name, severity) for seed, one in answers.items()}
    scores = {
        seed: [score(one, truth, photos.people) for one in repeats]
        for seed, repeats in by_seed.items()
    }
    means = {
        figure: [float(np.mean([getattr(one, figure) for one in each])) for each in scores.values()]
        for figure in FIGURES
    }
    return {figure: mean_and_spread(of_seeds) for figure, of_seeds in means.items()}


def _repeats(answers: Answers, name: str, severity: float) -> Sequence[Rows]:
    found: list[Rows] = []
    while (key := str(Exposure(name, severity, len(found)))) in answers:
        found.append(answers[key])
    return found


def slopes(severities: Sequence[Numbers]) -> dict[str, float]:
    """Macro-F1 per 0.1 of severity, by least squares; light apart for darker and brighter."""
    clean = next(row for row in severities if row["condition"] == CLEAN)["macro_f1"]["mean"]
    answer = {}
    for condition in PAPER_SEVERITIES:
        rows = [row for row in severities if row["condition"] == condition]
        for title, away in _directions(condition, rows):
            if len(away) > 1:
                points = np.array([(0.0, clean), *away])
                answer[title] = float(np.polyfit(points[:, 0], points[:, 1], 1)[0] * PER)
    return answer


def _directions(
    condition: str, rows: Sequence[Numbers]
) -> list[tuple[str, list[tuple[float, float]]]]:
    """By title the distance from the photo as it is, and the macro-F1 there."""
    start = UNSPOILT.get(condition, 0.0)
    away = [(row["severity"] - start, row["macro_f1"]["mean"]) for row in rows]
    if not start:
        return [(condition, away)]
    darker = [(-distance, f1) for distance, f1 in away if distance < 0]
    return [
        (f"{condition}, darker", darker),
        (f"{condition}, brighter", [one for one in away if one[0] > 0]),
    ]


def _forms(bench: Bench, study: Study, backbone: str) -> Numbers:
    """Table 2: the heatmap network told the map, zeros, chance or another photo's map."""
    told = {trial.seed: bench.forms(trial) for trial in _trials(study, backbone, HEATMAP)}
    return {
        form: {
            name: _scored(
                bench,
                study,
                {seed: by_form[form] for seed, by_form in told.items()},
                name,
                TABLE_SEVERITIES.get(name, 0.0),
            )
            for name in CONDITIONS
        }
        for form in FORMS
    }


# comparisons


def _compared(bench: Bench, study: Study) -> list[Numbers]:
    rows = []
    for backbone in study.backbones:
        arms = study.arms(backbone)
        answers = {
            arm: {trial.seed: bench.answers(trial) for trial in _trials(study, backbone, arm)}
            for arm in arms
        }
        rows += [
            _row(bench, study, (backbone, arm, rival), answers[arm], answers[rival], name)
            for arm in arms
            for rival in RIVALS.get(arm, ())
            if rival in answers
            for name in CONDITIONS
        ]
    return rows


def _forms_compared(bench: Bench, study: Study) -> list[Numbers]:
    """The heatmap network told nothing, chance or another's map, against told its own."""
    rows = []
    for backbone in study.backbones:
        told = {trial.seed: bench.forms(trial) for trial in _trials(study, backbone, HEATMAP)}
        by_form = {form: {seed: one[form] for seed, one in told.items()} for form in FORMS}
        rows += [
            _row(bench, study, (backbone, form, NORMAL), by_form[form], by_form[NORMAL], name)
            for form in FORMS
            if form != NORMAL
            for name in CONDITIONS
        ]
    return rows


def _row(
    bench: Bench,
    study: Study,
    names: tuple[str, str, str],
    arm: Mapping[int, Answers],
    rival: Mapping[int, Answers],
    condition: str,
) -> Numbers:
    severity = TABLE_SEVERITIES.get(condition, 0.0)
    _, photos = bench.photos_of(study)
    config = bench.config
    found = compare(
        _at(arm, condition, severity),
        _at(rival, condition, severity),
        photos.person[bench.validated(study)],
        photos.people,
        Resampling(config.bootstrap_draws, config.sign_flips, config.seed),
    )
    backbone, ours, theirs = names
    return {
        "backbone": backbone,
        "arm": ours,
        "rival": theirs,
        "condition": condition,
        "difference": found,
    }


def _at(answers: Mapping[int, Answers], condition: str, severity: float) -> BySeed:
    return {seed: _repeats(one, condition, severity) for seed, one in answers.items()}


def _judged(rows: Sequence[Numbers]) -> list[Numbers]:
    """Holm's correction within each question: all comparisons of one arm with its rival."""
    judged = []
    for question in dict.fromkeys((row["arm"], row["rival"]) for row in rows):
        asked = [row for row in rows if (row["arm"], row["rival"]) == question]
        adjusted = holm([row["difference"].p for row in asked])
        judged += [_told(row, p) for row, p in zip(asked, adjusted, strict=True)]
    return judged


def _told(row: Numbers, adjusted_p: float) -> Numbers:
    difference: Difference = row["difference"]
    told = {key: value for key, value in row.items() if key != "difference"}
    judged = {"p_holm": adjusted_p, "verdict": verdict(difference, adjusted_p)}
    return {**told, **asdict(difference), **judged}
