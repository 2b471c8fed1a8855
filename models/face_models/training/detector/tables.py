"""The detector's report as Markdown, and its recall by size and by roll as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from face_models.training.detector.measure import Agreement, Band, SceneReport

SMALLEST_RECALL_SHOWN = 0.5


def write_markdown(figures: SceneReport, path: Path) -> None:
    path.write_text("\n".join(lines_of(figures)) + "\n", encoding="utf-8")


def lines_of(figures: SceneReport) -> Iterator[str]:
    yield "# The face detector\n"
    yield f"{figures.photos} photos, {figures.faces} labelled faces: {figures}.\n"
    if not figures.by_size:
        return
    yield from bands("On the photos, by how sure the labeller was", figures.by_score)
    yield from bands("Composed scenes: face height in a 640 x 480 frame", figures.by_size)
    yield from bands("Composed portraits of 250 x 250 px, relit: face height", figures.by_share)
    yield from bands("Composed scenes: roll, faces 110 px high", figures.by_roll)
    yield from bands("Composed scenes: crowds in a 640 x 640 frame", figures.by_crowd)
    yield "## False alarms on drawn pictures without a person\n"
    yield "| pictures | number | false alarms | pictures with any |\n| --- | --- | --- | --- |"
    for row in figures.false_alarms:
        yield f"| {row.kind} | {row.pictures} | {row.alarms} | {row.pictures_with_any} |"
    if figures.readers:
        yield from readers(figures.readers)


def readers(agreement: Agreement) -> Iterator[str]:
    yield "\n## What the labels of landmarks are worth\n"
    yield "| medians over the distance of the eyes | distance |\n| --- | --- |"
    for what, distance in (
        ("our landmarks from the labels", agreement.first_from_labels),
        ("a second network's, which learnt apart, from them", agreement.second_from_labels),
        (f"the two networks from each other ({agreement.faces} faces)", agreement.apart),
    ):
        yield f"| {what} | {distance:.4f} |"


def bands(title: str, rows: Sequence[Band]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| faces | number | recall (95 % interval) | landmark error, median | mean |"
    yield "| --- | --- | --- | --- | --- |"
    for row in rows:
        interval = f"{row.recall:.3f} ({row.recall_low:.3f}-{row.recall_high:.3f})"
        errors = (row.median_landmark_error, row.landmark_error)
        cells = " | ".join("-" if error is None else f"{error:.3f}" for error in errors)
        yield f"| {row.kind} | {row.faces} | {interval} | {cells} |"
    yield ""


def draw_recall(figures: SceneReport, path: Path) -> None:
    """Recall with its 95 % interval, by size, by share of a portrait and by roll."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    groups = (figures.by_size, figures.by_share, figures.by_roll)
    for axes, rows in zip(figure.subplots(1, len(groups)), groups, strict=True):
        recall = [row.recall for row in rows]
        below = [row.recall - row.recall_low for row in rows]
        above = [row.recall_high - row.recall for row in rows]
        axes.errorbar([row.kind for row in rows], recall, (below, above), marker="o", capsize=3)
        axes.tick_params(axis="x", rotation=35)
        axes.set(ylabel="recall, IoU 0.5", ylim=(min(SMALLEST_RECALL_SHOWN, *recall), 1.01))
        axes.grid(alpha=0.3)
    figure.savefig(path)
