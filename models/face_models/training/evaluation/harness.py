"""`face-models evaluate`: what was asked for, measured; every photo is analysed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import thread_time

import numpy as np

from face_models.align import CROP_PX
from face_models.engine import Crops, Engine
from face_models.pipeline import Pipeline
from face_models.spec import WEIGHTS_DIR, load_specs
from face_models.training import data
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.demographics import people
from face_models.training.evaluation.evaluate import MODELS, PairsReport, evaluate_pairs, photos_of
from face_models.training.evaluation.gallery import GalleryReport, evaluate_gallery
from face_models.training.evaluation.identities import (
    IdentitiesReport,
    described,
    evaluate_identities,
    labelled_faces,
)
from face_models.training.evaluation.protocol import (
    Pair,
    Searches,
    UnusableInput,
    check_photos,
    read_gallery,
    read_landmarks,
    read_pairs,
)
from face_models.training.evaluation.templates import (
    FaceFinder,
    ReferenceLandmarks,
    Template,
    TemplateCache,
    WholePipeline,
    describe,
    enrol,
    made_by,
)

TIMED_CROPS = 20
GREY = 128


@dataclass(frozen=True)
class Request:
    """At least one of `pairs`, `gallery` and `validation` is asked for; `ways`: see templates.py.

    `pairs` are of photos in the folder `images`; `data` is the training data folder, with its
    decoded faces in `decoded`. `landmarks`: given ones in place of our detector's.
    """

    ways: Sequence[str] = MODELS
    pairs: Path | None = None
    images: Path | None = None
    gallery: Path | None = None
    validation: bool = False
    data: Path = Path()
    decoded: Path = Path()
    weights: Path = WEIGHTS_DIR
    landmarks: Path | None = None
    cache: Path | None = None
    threads: int = 1
    resampling: Resampling = field(default_factory=Resampling)

    @property
    def folder(self) -> Path:
        """Of the photos; pairs and gallery share it, so that no photo is analysed twice.

        Raises:
            UnusableInput: there is none, or there are two.
        """
        given = {folder.resolve(): folder for folder in (self.images, self.gallery) if folder}
        if len(given) == 2:
            raise UnusableInput("Pairs and gallery of one run are photos of one folder.")
        if not given:
            raise UnusableInput("Pairs need the folder that their photos are in (--images).")
        return next(iter(given.values()))


@dataclass(frozen=True)
class Evaluation:
    """What was not asked for is empty. `timings_ms`: medians of processor time."""

    request: Request
    weights: Mapping[str, str]  # graph -> sha256
    pairs: Sequence[Pair]
    pairs_reports: Sequence[PairsReport]
    gallery_reports: Sequence[GalleryReport]
    identities_reports: Sequence[IdentitiesReport]
    timings_ms: Mapping[str, float]

    @property
    def data(self) -> str:
        """What was measured on, in words."""
        parts = []
        if self.request.pairs:
            parts.append(f"{self.request.pairs.name}: {len(self.pairs)} pairs")
        parts += [
            f"{one.enrolled} people enrolled, {one.mated_searches} mated and "
            f"{one.non_mated_searches} non-mated searches"
            for one in self.gallery_reports[:1]
        ]
        parts += [
            f"{one.faces} faces of {one.people} validation identities"
            for one in self.identities_reports[:1]
        ]
        return "; ".join(parts)


def evaluate(request: Request) -> Evaluation:
    """Raises UnusableInput where a list, a folder or a photo is not there or not what is due."""
    if not (request.pairs or request.gallery or request.validation):
        raise UnusableInput("Nothing to evaluate: give --pairs, --gallery or --validation.")
    pairs = read_pairs(request.pairs) if request.pairs else []
    searches = read_gallery(request.gallery, request.resampling.seed) if request.gallery else None
    templates, timings = _templates(request, _photos(request, pairs, searches))
    ways, resampling = request.ways, request.resampling
    return Evaluation(
        request=request,
        weights=_sha256s(request.weights),
        pairs=pairs,
        pairs_reports=evaluate_pairs(templates, pairs, ways, resampling) if pairs else [],
        gallery_reports=evaluate_gallery(templates, searches, ways, resampling) if searches else [],
        identities_reports=_identities(request) if request.validation else [],
        timings_ms=timings,
    )


def _photos(request: Request, pairs: Sequence[Pair], searches: Searches | None) -> list[str]:
    """Of both lists, which name photos of the one folder; each photo once."""
    photos = sorted({*photos_of(pairs), *(searches.photos if searches else ())})
    if photos:
        check_photos(request.folder, photos)
    return photos


def _templates(
    request: Request, photos: Sequence[str]
) -> tuple[dict[str, Template], dict[str, float]]:
    """Templates by photo, and what making them took."""
    if not photos:
        return {}, {}
    pipeline = Pipeline.load(request.weights, threads=1)
    find: FaceFinder = WholePipeline(pipeline)
    if request.landmarks:
        find = ReferenceLandmarks(read_landmarks(request.landmarks))
    stamp = made_by(list(_sha256s(request.weights).values()), request.landmarks)
    cache = TemplateCache(stamp, request.ways, request.cache)
    made = enrol(find, pipeline.engine, request.folder, photos, cache, request.threads)
    if all(template.refusal for template in made.values()):
        raise UnusableInput("Not one of the photos could be enrolled.")
    return made, _timings(made) | _embedding_ms(Engine(request.weights), request.ways)


def _timings(made: Mapping[str, Template]) -> dict[str, float]:
    """Of the photos that were analysed now and not remembered."""
    find = [template.find_ms for template in made.values() if template.find_ms is not None]
    return {"photo to crop": round(float(np.median(find)), 1)} if find else {}


def _embedding_ms(engine: Engine, ways: Sequence[str]) -> dict[str, float]:
    """Of one crop in each way alone; what a crop shows does not change it."""
    crop = np.full((1, CROP_PX, CROP_PX, 3), GREY, dtype=np.uint8)
    return {f"crop to {way}": round(_median_ms(engine, crop, way), 1) for way in ways}


def _median_ms(engine: Engine, crop: Crops, way: str) -> float:
    laps = []
    for _ in range(TIMED_CROPS):
        started = thread_time()
        describe(engine, crop, (way,))
        laps.append(1000 * (thread_time() - started))
    return float(np.median(laps))


def _identities(request: Request) -> list[IdentitiesReport]:
    engine = Engine(request.weights, request.threads)
    validation, labelled = (
        described(engine, faces, people(request.data, faces), request.ways, what)
        for faces, what in (
            (data.load(request.data, request.decoded, "val"), "validation faces"),
            (_labelled(request), "labelled faces"),
        )
    )
    return evaluate_identities(validation, labelled, request.resampling)


def _labelled(request: Request) -> data.FaceSet:
    train = data.load(request.data, request.decoded, "train")
    return labelled_faces(train, request.resampling.seed)


def _sha256s(weights: Path) -> dict[str, str]:
    specs = load_specs(weights)
    graphs = {"detector": specs.detector, "landmarks": specs.landmarks, **specs.models}
    return {name: spec.sha256 for name, spec in graphs.items()}
