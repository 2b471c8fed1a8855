"""Photos -> templates: every photo is analysed once, and described in every way that is compared.

A template is what the matcher compares (ISO/IEC 2382-37). The ways to make one:

    base, heatmap                the embedding of that network
    base-flip, heatmap-flip      the mean of the embeddings of the crop and of its mirror image
    heatmap-descriptor           the Grad-CAM++ map itself, as the paper compares it (section 2.8)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import thread_time
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import face_models
from face_models.align import Landmarks, align
from face_models.descriptor import heatmap_descriptor
from face_models.engine import Crops, Embeddings
from face_models.errors import PhotoError
from face_models.photo import Rgb, read_photo
from face_models.pipeline import Pipeline
from face_models.training.evaluation.protocol import UnusableInput

NETWORKS = ("base", "heatmap")
FLIP = "-flip"
HEATMAP_DESCRIPTOR = "heatmap-descriptor"
NOT_SERVED = frozenset(  # no part of what makes a template; graphs are told by their sha256
    {
        "cli.py",
        "calibration.py",
        "calibration_table.py",
        "calibration.json",
        "model.json",
        "MODEL_CARD.md",
    }
)

Vectors = NDArray[np.floating]  # (n, d), L2-normalised
Vector = NDArray[np.floating]  # (d,)


class Embedder(Protocol):
    def embed(self, crops: Crops, models: tuple[str, ...] = ...) -> Embeddings: ...


@dataclass(frozen=True, eq=False)
class FoundFace:
    """`quality` 0..100, None where nothing was detected that it could be told of."""

    crop: Rgb
    quality: int | None


class FaceFinder(Protocol):
    """The bytes of a photo, and its name in the list -> the face that it is of."""

    def __call__(self, photo: str, data: bytes) -> FoundFace:
        """Raises PhotoError where there is no face to use."""


@dataclass(frozen=True, eq=False)
class Template:
    """Of one photo: one vector per way of description, or why there is none."""

    quality: int | None = None
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    refusal: str | None = None
    find_ms: float | None = None  # processor time; None where it was remembered, not made


@dataclass(frozen=True)
class WholePipeline:
    """Detection and alignment of the most prominent face, as served."""

    pipeline: Pipeline

    def __call__(self, photo: str, data: bytes) -> FoundFace:  # noqa: ARG002 - the port's
        face = self.pipeline.choose(self.pipeline.analyse(data), None)
        return FoundFace(face.crop, face.quality)


@dataclass(frozen=True)
class ReferenceLandmarks:
    """The networks alone: faces aligned by given landmarks (5, 2), not by ours."""

    landmarks: Mapping[str, Landmarks]

    def __call__(self, photo: str, data: bytes) -> FoundFace:
        if photo not in self.landmarks:
            raise UnusableInput(f"The reference landmarks hold no {photo}.")
        read = read_photo(data)
        return FoundFace(align(read.rgb, self.landmarks[photo] * read.scale), None)


def ways(networks: Sequence[str], *, flip: bool, maps: bool) -> tuple[str, ...]:
    """Names of the ways of description, plain embeddings first."""
    return (
        *networks,
        *(network + FLIP for network in networks if flip),
        *((HEATMAP_DESCRIPTOR,) if maps else ()),
    )


def describe(engine: Embedder, crops: Crops, wanted: Sequence[str]) -> dict[str, Vectors]:
    """Crops (n, 224, 224, 3) -> one (n, d) array of unit vectors per way of description.

    Nothing is computed twice: the flipped ways share the embedding of the crop with the plain ones.
    """
    plain = _embed(engine, crops, wanted)
    described: dict[str, Vectors] = {
        network: getattr(plain, network) for network in NETWORKS if network in wanted
    }
    mirrored_ways = [way for way in wanted if way.endswith(FLIP)]
    if mirrored_ways:
        mirrored = _embed(engine, crops[:, :, ::-1], mirrored_ways)
        for way in mirrored_ways:
            network = way.removesuffix(FLIP)
            described[way] = _unit(getattr(plain, network) + getattr(mirrored, network))
    if HEATMAP_DESCRIPTOR in wanted:
        described[HEATMAP_DESCRIPTOR] = heatmap_descriptor(plain.maps).astype(np.float16)
    return {way: described[way] for way in wanted}


def _embed(engine: Embedder, crops: Crops, wanted: Sequence[str]) -> Embeddings:
    heatmap = any(way.removesuffix(FLIP) == "heatmap" for way in wanted)
    return engine.embed(crops, NETWORKS if heatmap else NETWORKS[:1])


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class TemplateCache:
    """Templates by the photo's bytes, so that a photo of two lists is analysed once.

    With a `path` they outlive the process, in one .npz file. `made_by` names everything that a
    template depends on; a file made by anything else is started anew, and so is one that lacks a
    way of description that is `wanted`.
    """

    def __init__(self, made_by: str, wanted: Sequence[str], path: Path | None = None) -> None:
        self._made_by = made_by
        self._path = path
        self._templates: dict[str, Template] = {}
        self.ways = tuple(wanted)
        if path is not None and path.exists():
            self._load(path)

    def __len__(self) -> int:
        return len(self._templates)

    def get(self, data: bytes) -> Template | None:
        return self._templates.get(_sha256(data))

    def put(self, data: bytes, template: Template) -> None:
        remembered = Template(template.quality, template.vectors, template.refusal)
        self._templates[_sha256(data)] = remembered

    def save(self) -> None:
        """Written beside its final name and renamed: a killed run leaves the former file."""
        if self._path is None or not self._templates:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._columns())
        partial.replace(self._path)

    def _columns(self) -> dict[str, NDArray[Any]]:
        enrolled = [one for one in self._templates.values() if one.refusal is None]
        qualities = [-1 if one.quality is None else one.quality for one in self._templates.values()]
        return {
            "made_by": np.array(self._made_by),
            "sha256": np.array(list(self._templates)),
            "refusal": np.array([one.refusal or "" for one in self._templates.values()]),
            "quality": np.array(qualities),
            **{way: np.array([one.vectors[way] for one in enrolled]) for way in self.ways},
        }

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if str(file["made_by"]) != self._made_by or not set(self.ways) <= set(file):
                    return
                columns = {name: file[name] for name in file}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise UnusableInput(f"{path} is no cache of templates: {error}") from error
        self.ways = tuple(sorted(set(columns) - {"made_by", "sha256", "refusal", "quality"}))
        rows = iter(range(len(columns["sha256"])))
        for number, sha256 in enumerate(columns["sha256"]):
            self._templates[str(sha256)] = self._row(columns, number, rows)

    def _row(
        self, columns: Mapping[str, NDArray[Any]], number: int, rows: Iterator[int]
    ) -> Template:
        refusal = str(columns["refusal"][number])
        if refusal:
            return Template(refusal=refusal)
        row, quality = next(rows), int(columns["quality"][number])
        vectors = {way: columns[way][row] for way in self.ways}
        return Template(None if quality < 0 else quality, vectors)


def made_by(weights_sha256s: Sequence[str], landmarks: Path | None = None) -> str:
    """sha256 of what decides a template: weights, the package's own code, reference landmarks."""
    package = Path(face_models.__file__).parent
    files = [*package.glob("*.py"), *(package / "weights").iterdir()]
    served = sorted(file for file in files if file.name not in NOT_SERVED and file.is_file())
    given = [*served, *([landmarks] if landmarks is not None else [])]
    parts = [*weights_sha256s, *(_sha256(file.read_bytes()) for file in given)]
    return _sha256("\n".join(parts).encode())


def enrol(
    find: FaceFinder,
    engine: Embedder,
    folder: Path,
    photos: Sequence[str],
    cache: TemplateCache,
    threads: int = 1,
) -> dict[str, Template]:
    """Template of every photo of the folder, in `threads` threads; the cache is saved at the end.

    Threads of one core each: photos beside one another use cores better than one photo on several.
    """

    def template(photo: str) -> Template:
        data = (folder / photo).read_bytes()
        known = cache.get(data)
        if known is None:
            known = _make(lambda: find(photo, data), engine, cache.ways)
            cache.put(data, known)
        return known

    pool = ThreadPoolExecutor(threads)
    try:
        made = tqdm(pool.map(template, photos), "photos", len(photos), unit="photo")
        return dict(zip(photos, made, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
        cache.save()


def _make(find: Callable[[], FoundFace], engine: Embedder, wanted: Sequence[str]) -> Template:
    started = thread_time()
    try:
        face = find()
    except PhotoError as refusal:
        return Template(refusal=refusal.slug)
    find_ms = 1000 * (thread_time() - started)
    vectors = {way: rows[0] for way, rows in describe(engine, face.crop[None], wanted).items()}
    return Template(face.quality, vectors, find_ms=find_ms)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
