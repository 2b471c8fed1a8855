"""`face-models quality`: fit it, if asked; report how well it foretells errors, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from face_models.detect import Detector
from face_models.engine import Engine
from face_models.occlusion import OCCLUSION_FILE, OcclusionNetwork
from face_models.pipeline import Pipeline
from face_models.quality import MEASURES, QUALITY_FILE, QualityModel
from face_models.spec import WEIGHTS_DIR, load_specs, write_json
from face_models.training import data
from face_models.training.evaluation.demographics import people
from face_models.training.evaluation.protocol import read_pairs
from face_models.training.evaluation.tables import table
from face_models.training.provenance import provenance
from face_models.training.quality.discard import (
    DISCARDS,
    HOPELESS_BELOW,
    Discard,
    group_scores,
    pairs_discard,
    photo_scores,
    rank_correlation,
    scores,
    summary,
    validation_discards,
)
from face_models.training.quality.fit import fit_quality, outcomes
from face_models.training.quality.occlusion_fit import fit_occlusion
from face_models.training.quality.probes import Instruments, Probes, make_probes

DISCARD_NOTE: Final = (
    "FNMR of what is left when the worst share of the comparisons is discarded; gain: 0 is "
    "discarding at random, 1 the oracle who discards the errors first."
)
VARIANTS: Final = 3  # spoilt ways of every validation face


@dataclass(frozen=True)
class Request:
    """`limit`: validation faces, of whole people; half of the people fit, half are reported."""

    data: Path
    decoded: Path
    weights: Path = WEIGHTS_DIR
    model: str = "heatmap"
    fit: bool = False
    limit: int = 4000
    seed: int = 0
    pairs: Path | None = None
    images: Path | None = None
    threads: int = 1


def report(request: Request) -> dict[str, Any]:
    """Everything that is told of the quality; with `fit`, quality.json is written first."""
    faces = data.load(request.data, request.decoded, "val")
    seen = data.load(request.data, request.decoded, "train")
    if request.fit:
        fit_occlusion(seen, request.seed).save(request.weights / OCCLUSION_FILE)
    look = _instruments(request)
    chosen = whole_people(faces, request.limit, request.seed)
    probes = make_probes(faces, chosen, look, VARIANTS, request.seed)
    to_fit = faces.identity[probes.face] % 2 == 0
    outcome = outcomes(probes, faces)
    if request.fit:
        _fit(request, probes.take(to_fit), outcome.matched[to_fit])
    model = QualityModel.load(request.weights / QUALITY_FILE)
    unseen = probes.take(~to_fit)
    discards: dict[str, Mapping[str, Discard]] = {
        f"validation, {kind}": named
        for kind, named in validation_discards(unseen, faces, outcome.threshold, model).items()
    }
    photos = {
        "validation faces": summary(scores(model, unseen.measures[unseen.flaw == "none"])),
        "held-out photos": summary(
            photo_scores(request.data, look.detector, look.hidden_share, model)
        ),
    }
    if request.pairs and request.images:
        pipeline = Pipeline.load(request.weights, request.threads)
        found, quality = pairs_discard(
            pipeline, read_pairs(request.pairs), request.images, request.model, outcome.threshold
        )
        discards[request.pairs.name], photos[request.pairs.name] = (
            {"quality": found},
            summary(quality),
        )
    labels = people(request.data, seen)
    groups = {"group": labels.group, "age": labels.age, "sex": labels.sex}
    return {
        "threshold": outcome.threshold,
        "rank_correlation_with_similarity": rank_correlation(
            scores(model, unseen.measures), outcome.similarity[~to_fit]
        ),
        "error_versus_discard": {name: _told(named) for name, named in discards.items()},
        "discards": DISCARDS.round(3).tolist(),
        "min_quality": HOPELESS_BELOW,
        "quality_of_photos": photos,
        "by_group": group_scores(seen, groups, look, model),
        "probes": {"found": len(probes.face), "missed": probes.missed},
        "provenance": asdict(provenance(_described(request, chosen), request.seed)),
    }


def whole_people(faces: data.FaceSet, limit: int, seed: int) -> NDArray[np.int64]:
    """Indices of all photos of people drawn at random, until there are `limit` photos."""
    order = np.random.default_rng(seed).permutation(faces.identities)
    counts = np.bincount(faces.identity[faces.identity >= 0], minlength=faces.identities)
    enough = int(np.searchsorted(np.cumsum(counts[order]), limit)) + 1
    return np.flatnonzero(np.isin(faces.identity, order[:enough]))


def _instruments(request: Request) -> Instruments:
    specs = load_specs(request.weights)
    detector, landmarks = (s.path_in(request.weights) for s in (specs.detector, specs.landmarks))
    return Instruments(
        Detector(detector, request.threads, landmark_weights=landmarks),
        OcclusionNetwork.load(request.weights / OCCLUSION_FILE),
        Engine(request.weights, request.threads),
        request.model,
    )


def _fit(request: Request, probes: Probes, matched: NDArray[np.float64]) -> None:
    known = ~np.isnan(matched)
    model = fit_quality(probes.measures[known], matched[known])
    spec = load_specs(request.weights).models[request.model]
    source = provenance(f"{known.sum()} probes of validation faces", request.seed)
    fitted = {"model": request.model, "model_sha256": spec.sha256, **asdict(source)}
    model.save(request.weights / QUALITY_FILE, fitted)


def _told(named: Mapping[str, Discard]) -> dict[str, Any]:
    """All of the quality's curve; of each component alone, its gain."""
    return {
        name: asdict(one) if name == "quality" else {"gain": one.gain}
        for name, one in named.items()
    }


def _described(request: Request, chosen: NDArray[np.int64]) -> str:
    pairs = f"; {request.pairs.name}, reporting only" if request.pairs else ""
    return (
        f"{len(chosen)} validation faces, each as it is and in {VARIANTS} spoilt ways: half of the "
        f"people for the fit, the others for this report{pairs}"
    )


def markdown(report: Mapping[str, Any]) -> str:
    curves = report["error_versus_discard"]
    whole = {name: named["quality"] for name, named in curves.items()}
    shown = [round(100 * at) for at in (0, 0.1, 0.2, 0.5)]
    rows = [
        [name, str(one["pairs"]), *(f"{one['fnmr'][at]:.3f}" for at in shown), f"{one['gain']:.2f}"]
        for name, one in whole.items()
    ]
    alone = [kind for kind, named in curves.items() if len(named) > 1]
    gains = [
        [name.replace("_", " "), *(f"{curves[kind][name]['gain']:.2f}" for kind in alone)]
        for name in ("quality", *MEASURES)
    ]
    parts = [
        "# Quality",
        *_introduction(report),
        "## Error versus discard",
        DISCARD_NOTE,
        table(["genuine comparisons", "number", "all", "-10 %", "-20 %", "-50 %", "gain"], rows),
        "Gain of each component alone:",
        table(["component", *alone], gains),
        "## Who is refused",
        f"By default a face below quality {report['min_quality']} is refused.",
        _summaries("photos", report["quality_of_photos"]),
        *(_summaries(kind, groups) for kind, groups in report["by_group"].items()),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(report: Mapping[str, Any]) -> tuple[str, str]:
    source = report["provenance"]
    told = (
        f"{source['data']}. Commit {source['commit']}, {source['date']}, {source['machine']}, "
        f"seed {source['seed']}. Similarity needed: {report['threshold']:.3f} (FMR 0.001 on "
        "validation). Spearman's correlation of a face's quality with its mean similarity to the "
        f"other photos of its person: {report['rank_correlation_with_similarity']:.2f}."
    )
    return f"`{source['command']}`", told


def _summaries(kind: str, summaries: Mapping[str, Mapping[str, float]]) -> str:
    columns = ("p1", "p5", "p25", "p50", "p75")
    rows = [
        [name, f"{one['faces']:g}", *(f"{one[c]:.0f}" for c in columns), f"{one['refused']:.1%}"]
        for name, one in summaries.items()
    ]
    return table([kind, "faces", *columns, "refused"], rows)


def draw(report: Mapping[str, Any], path: Path) -> None:
    """One panel per data set: FNMR by discarded share, ours between random and oracle."""
    curves = {name: named["quality"] for name, named in report["error_versus_discard"].items()}
    figure = Figure(figsize=(4.2 * len(curves), 3.6), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (name, one) in zip(panels, curves.items(), strict=True):
        axes.plot(DISCARDS, one["fnmr"], label=f"by quality (gain {one['gain']:.2f})")
        axes.axhline(one["area_random"], color="grey", linestyle=":", label="at random")
        axes.plot(DISCARDS, one["oracle"], color="grey", linestyle="--", label="oracle")
        axes.set(title=name, xlabel="share discarded", ylabel="FNMR", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def write(document: Mapping[str, Any], json: Path, text: Path, plot: Path) -> None:
    for path in (json, text, plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, document)
    text.write_text(markdown(document), encoding="utf-8")
    draw(document, plot)
