"""compression.json, .md and .png: what each smaller form costs, beside what it saves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from face_models.training.compression.edge import ALLOWED_AUC_LOSS, ALLOWED_HEATMAP_DIFFERENCE
from face_models.training.evaluation.tables import table

Document = Mapping[str, Any]

FLOAT16_NOTE = (
    "float16 is for accelerators that compute in it. On a CPU ONNX Runtime casts to float32 around "
    "most nodes: there it saves bytes and costs time. Inputs and outputs are float32 in every form."
)
EXACT_NOTE = (
    "Normalisation, pooling, embedding, Grad-CAM++ and L2 norm are float32 in every form, but for "
    "the plan `all nodes but the embedding`. Of the plans that keep AUC within "
    f"{ALLOWED_AUC_LOSS} and heatmaps within {ALLOWED_HEATMAP_DIFFERENCE} of float32 the fastest "
    "is chosen, of equally fast ones the closest to float32. Figures here are of a sample of the "
    "validation identities; `time` is relative to float32."
)
START_NOTE = (
    "Same photos, steps and seeds for every arm; batch-norm statistics are estimated anew on "
    "training faces before the first figure. `norms kept` is ours: the paper starts normalisation "
    "anew. Pruned networks are measured, not shipped."
)


def merge(parts: Document, path: Path) -> dict[str, Any]:
    """The parts measured now, beside those that an earlier run left in `path`."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {**earlier, **parts}


def markdown(document: Document) -> str:
    parts = ["# Compression"]
    if "edge" in document:
        parts += _edge(document["edge"])
    if "pruning" in document:
        parts += _pruning(document["pruning"])
    return "\n\n".join(parts) + "\n"


def _edge(document: Document) -> Iterator[str]:
    yield "## int8 and float16"
    yield _source(document["provenance"])
    rows = [
        [
            network,
            form,
            _megabytes(document["bytes"][form][network]),
            *_verified(figures),
            f"{document['latency'][network][form]['median_ms']:.2f}",
            f"{document['latency'][network][form]['ratio']:.2f}",
        ]
        for form, networks in document["validation"].items()
        for network, figures in networks.items()
    ]
    head = ("network", "form", "MB", "AUC", "EER", "TAR@FAR 1e-3", "ms a face", "time / float32")
    yield table(head, sorted(rows, key=lambda row: row[0]))
    yield (
        "AUC, EER and TAR over all pairs of all validation identities; processor time of one "
        "thread, the forms taking turns: the ratio is the median of each turn's. " + FLOAT16_NOTE
    )
    if "pairs" in document:
        yield from _pairs(document["pairs"])
    for network, plans in document["plans"].items():
        yield f"### Plans tried: {network}"
        yield table(
            (
                "plan",
                "MB",
                "AUC",
                "EER",
                "cosine with float32",
                "heatmap difference",
                "time",
                "chosen",
            ),
            [_plan(plan) for plan in plans],
        )
    yield EXACT_NOTE


def _plan(plan: Document) -> list[str]:
    difference = plan["heatmap_difference"]
    return [
        plan["plan"],
        _megabytes(plan["bytes"]),
        f"{plan['auc']:.4f}",
        f"{plan['eer']:.4f}",
        f"{plan['agreement']:.4f}",
        "" if difference is None else f"{difference:.4f}",
        f"{plan['time']:.2f}",
        "yes" if plan["chosen"] else "",
    ]


def _pairs(document: Document) -> Iterator[str]:
    yield f"Whole pipeline on {document['list']}, reported only, nothing chosen on it:"
    rows = [
        [network, form, f"{figures['accuracy']:.4f}", *_verified(figures)]
        for form, networks in document.items()
        if form != "list"
        for network, figures in networks.items()
    ]
    head = ("network", "form", "accuracy", "AUC", "EER", "TAR@FAR 1e-3")
    yield table(head, sorted(rows, key=lambda row: row[0]))


def _pruning(document: Document) -> Iterator[str]:
    settings = document["settings"]
    yield "## Structured pruning of the base network"
    yield _source(document["provenance"])
    yield table(
        ("removed", "parameters", "MACs", "MB", "ms a face", "time / whole"),
        [
            [
                f"{size['removed_share']:.0%}",
                f"{size['parameters']:,}",
                f"{size['multiplications'] / 1e6:.1f} M",
                _megabytes(size["bytes"]),
                f"{size['median_ms']:.2f}",
                f"{size['ratio']:.2f}",
            ]
            for size in document["sizes"]
        ],
    )
    yield (
        f"{settings['steps']} steps of {settings['batch']} training faces at "
        f"{settings['input_px']} px, peak learning rate {settings['peak_learning_rate']:g}; "
        f"measured on all validation identities at {settings['input_px']} px. {START_NOTE}"
    )
    head = ("removed", "start", "seed", "AUC before", "AUC after", "TAR@FAR 1e-3 after", "cosine")
    yield table((*head[:-1], "cosine with teacher after"), list(_outcome_rows(document)))


def _outcome_rows(document: Document) -> Iterator[list[str]]:
    for (share, start), outcomes in by_arm(document["outcomes"]).items():
        rows = [(str(one["arm"]["seed"]), one) for one in outcomes]
        for seed, one in rows:
            yield [f"{share:.0%}", start, seed, *_before_after([one])]
        yield [f"{share:.0%}", start, "**mean**", *_before_after(outcomes)]


def _before_after(outcomes: Sequence[Document]) -> list[str]:
    return [
        f"{mean(one[when][figure] for one in outcomes):.4f}"
        for when, figure in (
            ("before", "auc"),
            ("after", "auc"),
            ("after", "tar"),
            ("after", "agreement"),
        )
    ]


def by_arm(outcomes: Sequence[Document]) -> dict[tuple[float, str], list[Document]]:
    """Outcomes of all seeds by removed share and initialisation, in their order."""
    arms: dict[tuple[float, str], list[Document]] = {}
    for outcome in outcomes:
        arm = outcome["arm"]
        arms.setdefault((arm["removed_share"], arm["initialisation"]), []).append(outcome)
    return arms


def draw(document: Document, path: Path) -> None:
    """What was measured so far: AUC against time of the forms, and of the pruned arms."""
    parts = [name for name in ("edge", "pruning") if name in document]
    figure = Figure(figsize=(6 * len(parts), 4.5), layout="constrained")
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, part in zip(panels, parts, strict=True):
        {"edge": _draw_edge, "pruning": _draw_pruning}[part](axes, document[part])
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _draw_edge(axes: Axes, document: Document) -> None:
    for network in document["latency"]:
        forms = document["validation"]
        times = [document["latency"][network][form]["ratio"] for form in forms]
        areas = [document["bytes"][form][network] / 2e4 for form in forms]
        aucs = [forms[form][network]["auc"] for form in forms]
        axes.scatter(times, aucs, s=areas, alpha=0.5, label=network)
        for form, time, auc in zip(forms, times, aucs, strict=True):
            axes.annotate(form, (time, auc))
    axes.set(
        xlabel="time on one core / float32",
        ylabel="AUC, validation identities",
        title="Forms of both networks (area: file size)",
    )


def _draw_pruning(axes: Axes, document: Document) -> None:
    arms = by_arm(document["outcomes"])
    for start in dict.fromkeys(start for _, start in arms):
        shares = [share for share, name in arms if name == start]
        means = [mean(one["after"]["auc"] for one in arms[share, start]) for share in shares]
        (line,) = axes.plot(shares, means, label=start)
        for share in shares:
            aucs = [one["after"]["auc"] for one in arms[share, start]]
            axes.plot([share] * len(aucs), aucs, "o", color=line.get_color(), alpha=0.5)
    axes.set(
        xlabel="share of prunable channels removed",
        ylabel="AUC after fine-tuning, validation identities",
        title="Pruning: start of the remaining weights",
    )


def _verified(figures: Document) -> list[str]:
    return [
        f"{figures['auc']:.4f}",
        f"{figures['eer']:.4f}",
        f"{figures['tar_at_far']['0.001']:.4f}",
    ]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _source(source: Document) -> str:
    return (
        f"`{source['command']}`\n\n{source['data']}. Commit {source['commit']}, {source['date']}, "
        f"{source['machine']}."
    )
