"""Does the quality foretell errors? "Error versus discard" (ISO/IEC 29794-1), refusals, groups.

Genuine comparisons are discarded from the worst quality on (that of the poorer photo), and FNMR at
a fixed threshold is told of the rest: it should fall like the oracle's, who discards the errors
first. Discarding at random leaves it where it is.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from face_models.align import align
from face_models.errors import PhotoError
from face_models.pipeline import FaceDetector, Pipeline, PipelineSettings, by_prominence
from face_models.quality import MEASURES, HiddenShare, QualityModel, measures
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation.protocol import Pair
from face_models.training.quality.probes import AS_IT_IS, Instruments, Probes, make_probes

DISCARDS: Final = np.linspace(0, 0.5, 51)
PERCENTILES: Final = (1, 5, 25, 50, 75, 95)
HOPELESS_BELOW: Final = PipelineSettings().min_quality
PER_GROUP: Final = 150

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Discard:
    """FNMR as the worst are discarded, at DISCARDS; areas are means over 0..50 %.

    `gain` is 0 for discarding at random and 1 for the oracle.
    """

    pairs: int
    fnmr: tuple[float, ...]
    oracle: tuple[float, ...]
    area: float
    area_random: float
    area_oracle: float
    gain: float


def error_versus_discard(similarity: Floats, quality: Floats, threshold: float) -> Discard:
    """Of genuine comparisons (n,); equal qualities are discarded in a seeded random order."""
    shuffled = np.random.default_rng(0).permutation(len(quality))
    missed = (similarity < threshold)[shuffled][np.argsort(quality[shuffled], kind="stable")]
    dropped = np.floor(DISCARDS * len(missed)).astype(np.int64)
    errors_left = missed.sum() - np.concatenate([[0], np.cumsum(missed)])[dropped]
    left = len(missed) - dropped
    oracle = np.maximum(missed.sum() - dropped, 0) / left
    curve = errors_left / left
    areas = [float(np.trapezoid(y, DISCARDS) / DISCARDS[-1]) for y in (curve, oracle)]
    random = float(missed.mean())
    return Discard(
        pairs=len(missed),
        fnmr=tuple(curve.round(5).tolist()),
        oracle=tuple(oracle.round(5).tolist()),
        area=areas[0],
        area_random=random,
        area_oracle=areas[1],
        gain=(random - areas[0]) / max(random - areas[1], 1e-9),
    )


def scores(model: QualityModel, measured: Floats) -> Floats:
    """Quality 0..100 of measures (n, 11)."""
    return np.array([model.score(dict(zip(MEASURES, row, strict=True))) for row in measured])


def genuine_pairs(probes: Probes, faces: FaceSet, *, spoilt: bool) -> NDArray[np.int64]:
    """(n, 2) rows: a probe (as it is, or spoilt) and another photo of its person, as it is."""
    identity = faces.identity[probes.face]
    clean = probes.flaw == AS_IT_IS
    same = (identity[:, None] == identity[None]) & (identity[:, None] != NO_IDENTITY)
    wanted = same & clean[None] & (probes.face[:, None] != probes.face[None])
    if spoilt:
        return np.argwhere(wanted & ~clean[:, None])
    return np.argwhere(np.triu(wanted & clean[:, None]))


def validation_discards(
    probes: Probes, faces: FaceSet, threshold: float, model: QualityModel
) -> dict[str, dict[str, Discard]]:
    """By kind of probe: by our quality, and by each component alone."""
    whole = scores(model, probes.measures)
    alone = {
        name: -np.array([model.curves[name](value) for value in probes.measures[:, column]])
        for column, name in enumerate(MEASURES)
    }
    answer: dict[str, dict[str, Discard]] = {}
    for kind, spoilt in (("as they are", False), ("one photo spoilt", True)):
        rows = genuine_pairs(probes, faces, spoilt=spoilt)
        similarity = np.einsum("ij,ij->i", probes.vectors[rows[:, 0]], probes.vectors[rows[:, 1]])
        answer[kind] = {
            name: error_versus_discard(
                similarity.astype(np.float64), quality[rows].min(axis=1), threshold
            )
            for name, quality in {"quality": whole, **alone}.items()
        }
    return answer


def pairs_discard(
    pipeline: Pipeline, pairs: Sequence[Pair], images: Path, model: str, threshold: float
) -> tuple[Discard, Floats]:
    """Of the genuine pairs of photos through the whole pipeline; and every face's quality."""
    genuine = [pair for pair in pairs if pair.same]
    quality: dict[str, int] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    for photo in tqdm(sorted({p for pair in genuine for p in (pair.a, pair.b)}), "photos"):
        try:
            analysis = pipeline.analyse((images / photo).read_bytes())
        except PhotoError:
            continue
        if analysis.best is not None:
            face = analysis.faces[analysis.best]
            quality[photo] = face.quality
            vectors[photo] = getattr(pipeline.embed([face], (model,)), model)[0]
    found = [pair for pair in genuine if pair.a in quality and pair.b in quality]
    similarity = np.array([float(vectors[pair.a] @ vectors[pair.b]) for pair in found])
    poorer = np.array([min(quality[pair.a], quality[pair.b]) for pair in found], dtype=np.float64)
    return (
        error_versus_discard(similarity, poorer, threshold),
        np.array(list(quality.values()), dtype=np.float64),
    )


def photo_scores(
    data_dir: Path, detector: FaceDetector, hidden_share: HiddenShare, model: QualityModel
) -> Floats:
    """Quality of the main face of each held-out photo of the detector's data."""
    rows = pq.read_table(data_dir / "detect" / "photos.parquet", columns=["image", "split"])
    answer = []
    for row in tqdm(rows.filter(pq.filters_to_expression([("split", "==", "val")])).to_pylist()):
        rgb = np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB"))
        found = by_prominence(detector.detect(rgb), rgb)
        if found:
            crop = align(rgb, found[0].landmarks)
            answer.append(model.score(measures(crop, found[0], hidden_share)))
    return np.array(answer)


def group_scores(
    faces: FaceSet, labels: Mapping[str, NDArray[np.str_]], look: Instruments, model: QualityModel
) -> dict[str, dict[str, dict[str, float]]]:
    """Quality by label, of up to 150 faces each: nobody should be refused for what they are."""
    random = np.random.default_rng(0)
    chosen: set[int] = set()
    for label in labels.values():
        for value in np.unique(label[label != "unknown"]):
            of_group = np.flatnonzero(label == value)
            chosen |= set(random.permutation(of_group)[:PER_GROUP].tolist())
    probes = make_probes(faces, np.array(sorted(chosen)), look, variants=0, seed=0)
    quality = scores(model, probes.measures)
    return {
        kind: {
            str(value): summary(quality[label[probes.face] == value])
            for value in np.unique(label[probes.face])
            if value != "unknown"
        }
        for kind, label in labels.items()
    }


def summary(quality: Floats) -> dict[str, float]:
    """Percentiles of the quality, and the share that the default settings refuse."""
    spread = np.percentile(quality, PERCENTILES).round(1).tolist()
    named = {f"p{percent}": value for percent, value in zip(PERCENTILES, spread, strict=True)}
    return {"faces": len(quality), **named, "refused": float((quality < HOPELESS_BELOW).mean())}


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, ties broken by order."""
    known = ~(np.isnan(a) | np.isnan(b))
    ranks = np.stack([np.argsort(np.argsort(one[known], kind="stable")) for one in (a, b)])
    return float(np.asarray(np.corrcoef(ranks.astype(np.float64)))[0, 1])
