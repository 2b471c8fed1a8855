"""A laboratory run as Markdown, JSON and plots; the paper's figures beside ours where known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from face_models.spec import write_json
from face_models.training.evaluation.report import PAPER_BEST
from face_models.training.evaluation.tables import table
from face_models.training.lab import plots, tables
from face_models.training.lab.words import SHORT, findings, interval
from face_models.training.restored import report as restored_report
from face_models.training.restored.words import conclusions

RESTORED: Final = "restored.md"

Numbers = Mapping[str, Any]


def write(document: Numbers, folder: Path) -> Path:
    """report.json, report.md and the plots; the maps' pictures are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", document)
    for name, study in document["studies"].items():
        plots.draw_sweep(study, folder / f"{name}-severity.png")
        plots.draw_convergence(study, folder / f"{name}-convergence.png")
        plots.draw_forms(study, folder / f"{name}-forms.png")
    if "lfw" in document:
        plots.draw_lfw(document["lfw"], folder / "lfw.png")
    plots.draw_areas(document["maps"], folder / "faithfulness.png")
    if "restored" in document:
        masked = restored_report.markdown(document["restored"])
        (folder / RESTORED).write_text(masked, encoding="utf-8")
    told = folder / "report.md"
    told.write_text(markdown(document), encoding="utf-8")
    return told


def markdown(document: Numbers) -> str:
    parts = [
        f"# The paper's laboratory: {document['name']}",
        *_provenance(document),
        "## What is shown, and what is not",
        "\n".join(f"- {line}" for line in findings(document)),
        *(part for name, study in document["studies"].items() for part in _study(document, name)),
        *(_lfw(document) if "lfw" in document else ()),
        *_maps(document["maps"]),
        *(_restored(document["restored"]) if "restored" in document else ()),
    ]
    return "\n\n".join(parts) + "\n"


def _provenance(document: Numbers) -> Iterator[str]:
    source, settings = document["provenance"], document["settings"]
    yield f"`{source['command']}`"
    yield (
        f"{source['data']}. Commit {source['commit']}, {source['date']}, {source['machine']}; "
        f"input {document['input_px']} px. Seeds of the networks stand by each study; conditions, "
        f"samples and draws: seed {settings['seed']}. {settings['bootstrap_draws']} draws of "
        f"people and seeds (LFW and maps: of people, of photos), {settings['sign_flips']} sign "
        f"flips. Networks and answers were made at commit {', '.join(document['made_at'])}."
    )
    yield (
        'Figures of the paper stand in the columns "paper"; "not at hand" where neither the '
        "repository nor the config (`[published]`) holds one. The paper learnt 900 people of 90 "
        "photos each at 224 px; another data set, size of input, start and "
        "length of training are reason enough for other levels, so compare differences, not levels."
    )
    repeats = settings["occlusion_repeats"]
    yield (
        "Noise, occlusion and brightness are laid on the measured photos (on learnt ones by the "
        f"noisy arms alone), an occlusion at {repeats} places, averaged, its share that of the "
        "face's square (the longer side of its box). The heatmap at a test is drawn from the "
        "spoilt photo, of the person whom the drawing network sees there. Tables 1 and 2 have the "
        "severities of the paper's table "
        "2; those of its table 1 are not at hand. Macro-F1 is the mean over the people who have "
        "measured photos. Seeds are drawn along with people, but two or three of them make a "
        "coarse interval, and one none: read it beside the spread (±) over the seeds. All seeds "
        "of a study have the same start. A heatmap network starts with a fourth plane in its first "
        "convolution, the mean of the other three: compare it with `blind`, too, which has that "
        "plane and is told zeros."
    )


def _study(document: Numbers, name: str) -> Iterator[str]:
    study = document["studies"][name]
    yield f"## {name}: {study['people']} people"
    yield _described(study)
    yield "### Table 1: recognition"
    yield tables.table_one(document, name, study)
    yield "### Heatmap against base, and beyond the paper: paired"
    yield (
        "Difference of macro-F1 and of accuracy; p and verdict are of macro-F1: answers swapped "
        "person by person, Holm-adjusted within arm and rival. " + _arms(study)
    )
    yield tables.compared(study["compared"], arms=True)
    yield "### Figure 3: severity"
    yield f"![Macro-F1 by severity]({name}-severity.png)"
    yield "Slope: change of macro-F1 per 0.1 of severity, least squares from the photo as it is."
    yield tables.slopes(document, name, study)
    yield "### Table 2: what the fourth channel is told at the test"
    yield tables.forms(document, name, study)
    yield tables.compared(study["compared"], arms=False)
    yield f"![Forms of the heatmap]({name}-forms.png)"
    yield "### Convergence"
    yield f"![Macro-F1 by epoch]({name}-convergence.png)"
    yield tables.epochs(study)


def _described(study: Numbers) -> str:
    lesson = study["lesson"]
    starts = ", ".join(f"{SHORT[name]} from {start}" for name, start in study["start"].items())
    return (
        f"{study['learnt']} photos in bright and medium light are learnt, {study['validated']} in "
        f"dark light measured, none of them chosen by. {lesson['epochs']} epochs of batches of "
        f"{lesson['batch']}, peak learning rate {lesson['peak_learning_rate']:g}, ArcFace (scale "
        f"{lesson['arcface_scale']:g}, margin {lesson['arcface_margin_rad']:g}); the last epoch "
        f"counts. Seeds {', '.join(map(str, study['seeds']))}. Start: {starts}."
    )


def _arms(study: Numbers) -> str:
    told = {arm: one["told"] for by in study["networks"].values() for arm, one in by.items()}
    return " ".join(f"{arm}: {what}." for arm, what in told.items())


def _lfw(document: Numbers) -> Iterator[str]:
    lfw = document["lfw"]
    yield f"## Figures 4 to 6: LFW, {lfw['pairs']} pairs, networks of {lfw['study']}"
    yield (
        "Photo and mirror image together, cosine; nothing was chosen by these figures. The paper's "
        f"best network: AUC {PAPER_BEST['auc']}, EER {PAPER_BEST['eer']}; which it is, is not at "
        "hand."
    )
    rows = [
        [
            SHORT[backbone],
            arm,
            *(f"{found[key]['mean']:.4f}{_spread(found[key])}" for key in ("auc", "eer")),
            tables.mean(found["accuracy"]),
            tables.published(document, "lfw", backbone, arm, "auc"),
            tables.published(document, "lfw", backbone, arm, "eer"),
            f"{found['auc']['mean'] - PAPER_BEST['auc']:+.4f}",
        ]
        for backbone, by_arm in lfw["networks"].items()
        for arm, found in by_arm.items()
    ]
    head = ["network", "arm", "AUC", "EER", "accuracy", "paper's AUC", "paper's EER"]
    yield table([*head, "AUC minus the paper's best"], rows)
    yield "![ROC on LFW](lfw.png)"


def _restored(document: Numbers) -> Iterator[str]:
    yield "## Occlusion, restored"
    yield f"Every table of it: [{RESTORED}]({RESTORED})."
    yield "\n".join(f"- {line}" for line in conclusions(document))
    yield "![Faces masked and restored, and what that costs](restored.png)"


def _spread(found: Numbers) -> str:
    return f" ± {found['std']:.4f}" if "std" in found else ""


def _maps(maps: Numbers) -> Iterator[str]:
    yield "## Figure 2: where the network looks"
    yield "The people of these pictures do not exist (`tests/data/README.md`)."
    yield "![Photos and maps under every condition](conditions.png)"
    yield "![Grad-CAM++ beside other maps](methods.png)"
    yield (
        f"Faithfulness, {maps['photos']} validation photos, {maps['network']}: areas under the "
        "explained person's probability while the hottest places are greyed (deletion, lower is "
        "more faithful) or uncovered in a blurred photo (insertion, higher is more faithful); in "
        "brackets against the map that knows but where the middle of the face is."
    )
    rows = [
        [
            name,
            *(
                f"{areas[kind]['mean']:.3f} ({areas[kind]['minus_control']:+.3f} "
                f"{interval(areas[kind]['interval'])})"
                for kind in ("deletion", "insertion")
            ),
        ]
        for name, areas in maps["areas"].items()
    ]
    yield table(["map", "deletion", "insertion"], rows)
    yield "![Deletion and insertion](faithfulness.png)"
