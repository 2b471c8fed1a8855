"""The document of an evaluation as Markdown: headline figures with their 95 % intervals first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

VERIFIED = (("accuracy", "accuracy"), ("auc", "AUC"), ("eer", "EER"))
GROUPS_NOTE = (
    "Ages, sexes and groups are UTKFace's. It names no identities, so there is no false "
    "non-match to tell: FMR takes every two photos of a group for two people (an upper bound), "
    "and the last column is the share of photos not recognised in their own mirror image. Our "
    "networks saw these photos in training, without labels; no other data has any."
)

TEACHERS_NOTE = (
    "`teacher`: the network whose answers ours learnt; no part of the product. It learnt from "
    "other photos (MS-Celeb-1M), which may show some of these people."
)


def markdown(document: Document) -> str:
    """Every table that the document has something for, and where it comes from."""
    parts = ["# Evaluation", *_provenance(document)]
    if "models" in document:
        parts += _verification(document["models"])
    if "identification" in document:
        parts += _identification(document["identification"])
    if "validation" in document:
        parts += _validation(document["validation"])
    if document["median_processor_ms"]:
        rows = [(step, f"{ms:g} ms") for step, ms in document["median_processor_ms"].items()]
        parts += ["## Cost", table(("median processor time", ""), rows)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _provenance(document: Document) -> Iterator[str]:
    source, bootstrap = document["provenance"], document["bootstrap"]
    weights = ", ".join(f"{name} {sha[:12]}" for name, sha in document["weights_sha256"].items())
    yield f"`{source['command']}`"
    yield (
        f"{source['data']}. Commit {source['commit']}, {source['date']}, {source['machine']}; "
        f"weights {weights}. Faces found by {document['faces_found_by']}. In brackets: 95 % "
        f"intervals, {bootstrap['replicates']} bootstrap draws, seed {bootstrap['seed']}."
    )


def _verification(models: Document) -> Iterator[str]:
    first = next(iter(models.values()))
    yield f"## 1:1, {first['pairs']} pairs"
    yield _verified(models)
    yield (
        f"Drawn by the bootstrap: {first['resampled']}. Failures to enrol: "
        f"{first['failures_to_enrol']} of {first['photos']} photos"
        f"{_reasons(first['failures_by_reason'])}; each counts as an error."
    )
    yield "Errors at the threshold of FAR 1 % over all pairs, by the quality of the poorer photo:"
    yield _errors({name: figures["by_quality"] for name, figures in models.items()}, "quality")


def _verified(models: Document) -> str:
    rates = list(next(iter(models.values()))["tar_at_far"])
    rows = [
        [
            name,
            *(_with_interval(figures, key) for key, _ in VERIFIED),
            *(_with_interval(figures, "tar_at_far", rate) for rate in rates),
        ]
        for name, figures in models.items()
    ]
    titles = (title for _, title in VERIFIED)
    return table(("description", *titles, *(f"TAR@FAR {rate}" for rate in rates)), rows)


def _identification(models: Document) -> Iterator[str]:
    first = next(iter(models.values()))
    yield (
        f"## 1:N, {first['enrolled']} people enrolled, {first['mated_searches']} mated and "
        f"{first['non_mated_searches']} non-mated searches"
    )
    rates = list(first["fnir_at_fpir"])
    rows = [
        [
            name,
            *(_with_interval(figures, key) for key in ("rank_1", "rank_5")),
            *(_with_interval(figures, "fnir_at_fpir", rate) for rate in rates),
        ]
        for name, figures in models.items()
    ]
    yield table(("description", "rank-1", "rank-5", *(f"FNIR@FPIR {r}" for r in rates)), rows)
    failures = "; ".join(
        f"{part.replace('_', '-')} {sum(reasons.values())}{_reasons(reasons)}"
        for part, reasons in first["failures_by_reason"].items()
    )
    yield (
        f"Failures to enrol: {failures}. A failed gallery photo or mated probe is a miss, a failed "
        "non-mated probe no false alarm. The intervals draw the people searched for; the gallery "
        "stays. By the quality of the mated probe, at the threshold of FPIR 1 %:"
    )
    rows = [
        [name, band, str(part["searches"]), _share(part["rank_1"]), _share(part["fnir"])]
        for name, figures in models.items()
        for band, part in figures["by_quality"].items()
    ]
    yield table(("description", "quality", "searches", "rank-1", "FNIR"), rows)


def _validation(models: Document) -> Iterator[str]:
    first = next(iter(models.values()))
    yield (
        f"## Validation identities: {first['faces']} aligned faces of {first['people']} people, "
        f"{first['genuine_pairs']} genuine and {first['impostor_pairs']} impostor pairs"
    )
    yield _verified(models)
    yield TEACHERS_NOTE
    yield (
        "Accuracy here is at the best threshold for all pairs, nearly all impostors. Errors "
        "at the threshold of FAR 1e-3 over all pairs, of pairs whose photos are both of one kind:"
    )
    for key, what in (("by_source", "source"), ("by_quality", "quality"), ("by_family", "family")):
        yield _errors({name: figures[key] for name, figures in models.items()}, what)
    yield GROUPS_NOTE
    rows = [
        [
            name,
            kind,
            label,
            str(part["photos"]),
            _share(part["fmr"], 5),
            _share(part["mirror_fnmr"]),
        ]
        for name, figures in models.items()
        for kind, groups in figures["by_group"].items()
        for label, part in groups.items()
    ]
    yield table(("description", "by", "group", "photos", "FMR", "not in its mirror image"), rows)


def _errors(models: Mapping[str, Document], what: str) -> str:
    rows = [
        [
            name,
            label,
            str(part["genuine"]),
            str(part["impostor"]),
            _share(part["fmr"], 5),
            _share(part["fnmr"]),
        ]
        for name, groups in models.items()
        for label, part in groups.items()
    ]
    return table(("description", what, "genuine", "impostor", "FMR", "FNMR"), rows)


def _with_interval(figures: Document, *path: str) -> str:
    value: Any = figures
    bounds: Any = figures["intervals"]
    for key in path:
        value, bounds = value[key], bounds.get(key, {})
    return f"{value:.4f} [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else f"{value:.4f}"


def _share(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _reasons(reasons: Mapping[str, int]) -> str:
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    return f" ({told})" if told else ""
