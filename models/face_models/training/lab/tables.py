"""The tables of a study: ours beside the paper's figures, where somebody has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from face_models.training.evaluation.tables import table
from face_models.training.lab.answers import FORMS, NORMAL
from face_models.training.lab.exposures import TABLE_SEVERITIES
from face_models.training.lab.figures import CONDITIONS
from face_models.training.lab.words import SHORT, interval

NOT_AT_HAND: Final = "not at hand"
FIGURES: Final = {"macro_f1": "macro-F1", "accuracy": "accuracy"}

Numbers = Mapping[str, Any]


def published(document: Numbers, *path: str) -> str:
    """The paper's figure of that name, where the config holds it."""
    value = document["settings"]["published"].get("/".join(path))
    return NOT_AT_HAND if value is None else f"{value:.4f}"


def table_one(document: Numbers, name: str, study: Numbers) -> str:
    severities = {one: f" {severity:g}" for one, severity in TABLE_SEVERITIES.items()}
    head = ["network", "arm", "figure"]
    head += [text for one in CONDITIONS for text in (f"{one}{severities.get(one, '')}", "paper")]
    rows = [
        [
            SHORT[backbone],
            arm,
            title,
            *(
                text
                for condition in CONDITIONS
                for text in (
                    mean(found["table"][condition][figure]),
                    published(document, "table1", name, backbone, arm, condition, figure),
                )
            ),
        ]
        for backbone, by_arm in study["networks"].items()
        for arm, found in by_arm.items()
        for figure, title in FIGURES.items()
    ]
    return table(head, rows)


def mean(found: Numbers) -> str:
    spread = f" ± {found['std']:.3f}" if "std" in found else ""
    return f"{found['mean']:.3f}{spread}"


def compared(rows: Sequence[Numbers], *, arms: bool) -> str:
    head = ["network", "this", "against", "condition", "macro-F1", "accuracy", "p", "verdict"]
    lines = [
        [
            SHORT[row["backbone"]],
            row["arm"],
            row["rival"],
            row["condition"],
            f"{row['macro_f1']:+.3f} {interval(row['macro_f1_interval'])}",
            f"{row['accuracy']:+.3f} {interval(row['accuracy_interval'])}",
            f"{row['p_holm']:.3f}",
            row["verdict"],
        ]
        for row in rows
        if (row["rival"] != NORMAL) is arms
    ]
    return table(head, lines)


def slopes(document: Numbers, name: str, study: Numbers) -> str:
    titles = list(next(iter(study["networks"].values()))["base"]["slopes"])
    rows = [
        [
            SHORT[backbone],
            arm,
            *(
                text
                for title in titles
                for text in (
                    f"{found['slopes'][title]:+.4f}",
                    published(document, "slope", name, backbone, arm, title),
                )
            ),
        ]
        for backbone, by_arm in study["networks"].items()
        for arm, found in by_arm.items()
        if set(titles) <= set(found["slopes"])
    ]
    return table(["network", "arm", *(one for t in titles for one in (t, "paper"))], rows)


def forms(document: Numbers, name: str, study: Numbers) -> str:
    head = ["network", "told", *(text for one in CONDITIONS for text in (one, "paper"))]
    rows = [
        [
            SHORT[backbone],
            form,
            *(
                text
                for condition in CONDITIONS
                for text in (
                    mean(by_form[form][condition]["macro_f1"]),
                    published(document, "table2", name, backbone, form, condition),
                )
            ),
        ]
        for backbone, by_form in study["forms"].items()
        for form in FORMS
    ]
    return "Macro-F1.\n\n" + table(head, rows)


def epochs(study: Numbers) -> str:
    """Macro-F1 after a few epochs, mean over the seeds."""
    curves = {
        (backbone, arm): [
            sum(each) / len(each) for each in zip(*found["curves"].values(), strict=True)
        ]
        for backbone, by_arm in study["networks"].items()
        for arm, found in by_arm.items()
    }
    epochs = study["lesson"]["epochs"]
    shown = sorted({1, 2, 3, epochs // 2 or 1, epochs} & set(range(1, epochs + 1)))
    rows = [
        [SHORT[backbone], arm, *(f"{curve[epoch - 1]:.3f}" for epoch in shown)]
        for (backbone, arm), curve in curves.items()
    ]
    return table(["network", "arm", *(f"epoch {epoch}" for epoch in shown)], rows)
