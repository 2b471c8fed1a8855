"""Measured figures as JSON, Markdown and curves in models/reports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from face_models.training.evaluation import plots
from face_models.training.evaluation.evaluate import PairsReport
from face_models.training.evaluation.gallery import GalleryReport
from face_models.training.evaluation.harness import Evaluation
from face_models.training.evaluation.identities import IdentitiesReport
from face_models.training.provenance import Provenance
from face_models.training.publish import Validation

PAPER_BEST = {"auc": 0.8372, "eer": 0.2435}

Document = Mapping[str, Any]


def evaluation_document(evaluation: Evaluation, source: Provenance) -> dict[str, Any]:
    """What `evaluate` writes: one entry per way of description for each test that was asked for."""
    document: dict[str, Any] = {}
    if evaluation.pairs_reports:
        document["models"] = {one.model: _pairs(one) for one in evaluation.pairs_reports}
        document["paper_best"] = PAPER_BEST
    if evaluation.gallery_reports:
        document["identification"] = {
            one.model: _gallery(one) for one in evaluation.gallery_reports
        }
    if evaluation.identities_reports:
        reports = evaluation.identities_reports
        document["validation"] = {one.model: _identities(one) for one in reports}
    return {
        **document,
        "faces_found_by": _found_by(evaluation),
        "bootstrap": asdict(evaluation.request.resampling),
        "median_processor_ms": dict(evaluation.timings_ms),
        "weights_sha256": dict(evaluation.weights),
        "provenance": asdict(source),
    }


def _found_by(evaluation: Evaluation) -> str:
    if not (evaluation.pairs_reports or evaluation.gallery_reports):
        return "the data set, which is of aligned faces"
    return "reference landmarks" if evaluation.request.landmarks else "our detector"


def _pairs(report: PairsReport) -> dict[str, Any]:
    return {
        **asdict(report.verification),
        "photos": report.photos,
        "failures_to_enrol": len(report.failures_to_enrol),
        "failures_by_reason": dict(Counter(report.failures_to_enrol.values())),
        "failed_photos": report.failures_to_enrol,
        "enrolled_only": asdict(report.enrolled_only) if report.enrolled_only else None,
        "resampled": report.resampled,
        "intervals": report.intervals,
        "by_quality": _each_as_dict(report.by_quality),
    }


def _gallery(report: GalleryReport) -> dict[str, Any]:
    return {
        "enrolled": report.enrolled,
        "mated_searches": report.mated_searches,
        "non_mated_searches": report.non_mated_searches,
        **asdict(report.identification),
        "failures_by_reason": {
            part: dict(Counter(photos.values()))
            for part, photos in report.failures_to_enrol.items()
        },
        "failed_photos": report.failures_to_enrol,
        "intervals": report.intervals,
        "by_quality": _each_as_dict(report.by_quality),
    }


def _identities(report: IdentitiesReport) -> dict[str, Any]:
    return {
        "faces": report.faces,
        "people": report.people,
        "genuine_pairs": report.genuine_pairs,
        "impostor_pairs": report.impostor_pairs,
        **asdict(report.verification),
        "intervals": report.intervals,
        "by_source": _each_as_dict(report.by_source),
        "by_quality": _each_as_dict(report.by_quality),
        "by_family": _each_as_dict(report.by_family),
        "by_group": {kind: _each_as_dict(groups) for kind, groups in report.by_group.items()},
    }


def _each_as_dict(entries: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: asdict(entry) for name, entry in entries.items()}


def validation_document(
    validation: Validation, differences: Mapping[str, float], source: Provenance
) -> dict[str, Any]:
    return {
        **asdict(validation),
        "onnx_against_torch_max_difference": dict(differences),
        "provenance": asdict(source),
    }


def write_document(document: Document, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def draw(evaluation: Evaluation, target: Path, form: str) -> list[Path]:
    """Every curve there is into a folder; into a file, by its suffix, the first ROC alone."""
    drawn = list(_drawings(evaluation))
    if target.suffix.lstrip(".") in plots.FORMATS:
        drawn = [one for one in drawn if one[0].endswith("roc")][:1]
        paths = [target] * len(drawn)
    else:
        paths = [target / f"{name}.{form}" for name, *_ in drawn]
    for (_, drawing, lines, title), path in zip(drawn, paths, strict=True):
        drawing(lines, title, path)
    return paths


def _drawings(evaluation: Evaluation) -> Iterator[tuple[str, Any, Sequence[Any], str]]:
    """Name, function, lines and title of each curve."""
    found_by = "reference landmarks" if evaluation.request.landmarks else "whole pipeline"
    if evaluation.pairs_reports:
        lines = plots.pairs_lines(evaluation.pairs_reports, evaluation.pairs)
        name = evaluation.request.pairs.stem if evaluation.request.pairs else ""
        title = f"{name}, {len(evaluation.pairs)} pairs, {found_by}"
        yield "roc", plots.draw_roc, lines, title
        yield "det", plots.draw_det, lines, title
    for report in evaluation.gallery_reports[:1]:
        title = f"{report.enrolled} people enrolled, {found_by}"
        yield "cmc", plots.draw_cmc, evaluation.gallery_reports, title
        yield "open-set", plots.draw_open_set, evaluation.gallery_reports, title
    for identities in evaluation.identities_reports[:1]:
        lines = plots.identities_lines(evaluation.identities_reports)
        title = f"all pairs of {identities.people} validation identities, aligned faces"
        yield "validation-roc", plots.draw_roc, lines, title
        yield "validation-det", plots.draw_det, lines, title
