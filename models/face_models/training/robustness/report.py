"""`face-models robustness`: pairs with one photo spoilt, as JSON, Markdown and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from face_models.pipeline import Pipeline
from face_models.spec import WEIGHTS_DIR, sha256_of, write_json
from face_models.training import data
from face_models.training.evaluation.evaluate import MODELS
from face_models.training.evaluation.protocol import Pair, UnusableInput, read_landmarks, read_pairs
from face_models.training.provenance import provenance
from face_models.training.robustness.conditions import PAPER_SEVERITIES
from face_models.training.robustness.measure import (
    Robustness,
    identity_pairs,
    interval,
    measure,
    some_pairs,
)
from face_models.training.robustness.photos import (
    AlignedPhotos,
    Photos,
    WholePhotos,
    found_face,
    load_networks,
    reference_crops,
    set_crops,
    treatments,
)
from face_models.training.robustness.tables import draw, markdown

VALIDATION_PAIRS: Final = 3000  # of either kind, as in LFW


@dataclass(frozen=True)
class Request:
    """Pairs of photos (`pairs`, `images`), else of validation identities, by all folders' networks.

    `landmarks`: align by these, not by our detector. `compare`: other weights folders by name.
    """

    data: Path
    decoded: Path
    weights: Path = WEIGHTS_DIR
    compare: Mapping[str, Path] = field(default_factory=dict)
    model: str = "both"
    pairs: Path | None = None
    images: Path | None = None
    landmarks: Path | None = None
    whole_pipeline: bool = False
    limit: int | None = None
    seed: int = 0
    threads: int = 1

    @property
    def models(self) -> tuple[str, ...]:
        return MODELS if self.model == "both" else (self.model,)

    @property
    def folders(self) -> dict[str, Path]:
        return {"": self.weights, **self.compare}


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR.

    Raises:
        UnusableInput: it has no name.
    """
    name, found, folder = text.partition("=")
    if not found or not name:
        raise UnusableInput(f"--compare takes NAME=DIR, not {text!r}.")
    return name, Path(folder)


def report(request: Request) -> dict[str, Any]:
    """Every treatment by every network, and the drop of `compare`'s networks against ours."""
    pairs, photos, described = _material(request)
    networks = load_networks(request.folders, request.models, request.threads)
    found = measure(photos, pairs, networks, treatments(), request.seed)
    return document(found, request.compare) | {
        "treated": "photo before detection" if request.whole_pipeline else "aligned crop",
        "weights_sha256": _weights(request),
        "provenance": asdict(provenance(described, request.seed)),
    }


def document(found: Robustness, compared: Sequence[str] | Mapping[str, Path]) -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "networks": {
            name: [
                {"condition": one.name, "severity": one.severity, **asdict(figure)}
                for one, figure in zip(found.treatments, figures, strict=True)
            ]
            for name, figures in found.figures.items()
        },
        "mean_drop_at_the_papers_severities": {
            name: _mean_drop(found, name, name) for name in found.figures
        },
        "excess_drop": {
            other: _mean_drop(found, other, other.removeprefix(f"{name} "), minus=True)
            for name in compared
            for other in found.figures
            if other.startswith(f"{name} ") and other.removeprefix(f"{name} ") in found.figures
        },
    }


def _mean_drop(
    found: Robustness, name: str, ours: str, *, minus: bool = False
) -> dict[str, dict[str, Any]]:
    """By condition: mean drop of AUC over the paper's severities, or how much larger than ours."""
    answer = {}
    for condition, severities in PAPER_SEVERITIES.items():
        rows = [
            row
            for row, one in enumerate(found.treatments)
            if one.name == condition and one.severity in severities
        ]
        drop = np.mean([found.figures[name][row].auc_drop for row in rows])
        resampled = found.resampled_drops[name][rows].mean(axis=0)
        if minus:
            drop -= np.mean([found.figures[ours][row].auc_drop for row in rows])
            resampled = resampled - found.resampled_drops[ours][rows].mean(axis=0)
        answer[condition] = {"auc": float(drop), "interval": interval(resampled)}
    return answer


def _material(request: Request) -> tuple[Sequence[Pair], Photos, str]:
    """Pairs, where their photos come from, and both in words.

    Raises:
        UnusableInput: pairs without photos, or no list of pairs; a photo before detection of crops.
    """
    if (request.pairs is None) != (request.images is None):
        raise UnusableInput("--pairs and --images go together.")
    if request.whole_pipeline and request.pairs is None:
        raise UnusableInput("--whole-pipeline needs --pairs of photos; validation faces are crops.")
    if request.pairs is None or request.images is None:
        faces = data.load(request.data, request.decoded, "val")
        pairs = identity_pairs(faces, request.limit or VALIDATION_PAIRS, request.seed)
        return pairs, AlignedPhotos(set_crops(faces), request.seed), _words(pairs, "validation")
    pairs = read_pairs(request.pairs)
    if request.limit:
        pairs = some_pairs(pairs, request.limit, request.seed)
    words = _words(pairs, f"{request.pairs.name}, reporting only")
    if request.landmarks and not request.whole_pipeline:
        crop = reference_crops(request.images, read_landmarks(request.landmarks))
        return pairs, AlignedPhotos(crop, request.seed), words
    pipeline = Pipeline.load(request.weights, request.threads)
    if request.whole_pipeline:
        return pairs, WholePhotos(pipeline, request.images, request.seed), words
    images = request.images
    aligned = AlignedPhotos(
        lambda photo: found_face(pipeline, (images / photo).read_bytes()), request.seed
    )
    return pairs, aligned, words


def _words(pairs: Sequence[Pair], source: str) -> str:
    return f"{len(pairs)} pairs ({source}), the second photo of each spoilt"


def _weights(request: Request) -> dict[str, str]:
    return {
        f"{name} {file.stem}".strip(): sha256_of(file)
        for name, folder in request.folders.items()
        for file in sorted(folder.glob("*.onnx"))
        if file.stem in MODELS
    }


def write(document: Mapping[str, Any], json: Path, text: Path, plot: Path) -> None:
    for path in (json, text, plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, document)
    text.write_text(markdown(document), encoding="utf-8")
    draw(document, plot)
