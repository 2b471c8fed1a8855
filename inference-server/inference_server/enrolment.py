"""A photo becomes a reference of the gallery; only its embeddings are kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from face_models.errors import FaceModelsError, NoSuchFace
from face_models.pipeline import Box, Face
from inference_server.face_pipeline import FacePipeline, stamp_of
from inference_server.gallery import ModelStamp, Reference, Registry

SAME_FACE_OVERLAP: Final = 0.5
"""Intersection over union, from which on two detectors' boxes of one photo are of one face."""

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose face of which photo a reference is; `face` None: the best one."""

    person_id: str
    face_id: str
    face: int | None
    photo_sha256: str


class Enroller:
    """`others` embed the same face for the day on which they take the pipeline's place."""

    def __init__(
        self,
        pipeline: FacePipeline,
        registry: Registry,
        now: Callable[[], datetime] = utc_now,
        others: Sequence[FacePipeline] = (),
    ) -> None:
        self._pipeline = pipeline
        self._registry = registry
        self._stamp = stamp_of(pipeline)
        self._now = now
        self._others = others

    def enrol(
        self, photo: bytes, person_id: str, face_id: str, face: int | None
    ) -> tuple[Reference, bool]:
        """The reference as it is stored, and whether it is new; safe to repeat.

        Raises:
            PhotoError, EmbeddingFailed, PersonNotFound, FaceIdInUse, StoreUnavailable
        """
        origin = Origin(person_id, face_id, face, hashlib.sha256(photo).hexdigest())
        reference, chosen = make_reference(self._pipeline, self._stamp, photo, origin, self._now)
        also = (self._by_other(other, photo, chosen, reference) for other in self._others)
        return self._registry.add_face(reference, [made for made in also if made is not None])

    def _by_other(
        self, other: FacePipeline, photo: bytes, chosen: Face, reference: Reference
    ) -> Reference | None:
        """None where the other networks fail on it: that is counted, and refuses nobody now."""
        try:
            face = self._seen_by(other, photo, chosen)
            embeddings = other.embed([face])
        except FaceModelsError as error:
            log.warning("A face is enrolled without the shadow networks: %s", error)
            return None
        return replace(
            reference,
            base=embeddings.base[0],
            heatmap=embeddings.heatmap[0],
            stamp=stamp_of(other),
        )

    def _seen_by(self, other: FacePipeline, photo: bytes, chosen: Face) -> Face:
        """The chosen face as the other networks crop it; one detector's crop serves both."""
        if other.cropping_sha256s == self._pipeline.cropping_sha256s:
            return chosen
        analysis = other.analyse(photo)
        shares = {face.index: overlap(face.box, chosen.box) for face in analysis.faces}
        nearest = max(shares, key=shares.__getitem__, default=None)
        if nearest is None or shares[nearest] < SAME_FACE_OVERLAP:
            raise NoSuchFace("The other detector does not see the chosen face.")
        return other.choose(analysis, nearest)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(a[2] * a[3] + b[2] * b[3] - shared, 1e-9)


def make_reference(
    pipeline: FacePipeline,
    stamp: ModelStamp,
    photo: bytes,
    origin: Origin,
    now: Callable[[], datetime] = utc_now,
) -> tuple[Reference, Face]:
    """The one way from a photo to a reference, over HTTP as in bulk, and the face it is of.

    `stamp`: of the pipeline.

    Raises:
        PhotoError, EmbeddingFailed
    """
    analysis = pipeline.analyse(photo)
    chosen = pipeline.choose(analysis, origin.face)
    embeddings = pipeline.embed([chosen])
    reference = Reference(
        face_id=origin.face_id,
        person_id=origin.person_id,
        base=embeddings.base[0],
        heatmap=embeddings.heatmap[0],
        stamp=stamp,
        photo_sha256=origin.photo_sha256,
        face_index=chosen.index,
        box=chosen.box,
        quality=chosen.quality,
        warnings=(*analysis.warnings_for(origin.face), *chosen.warnings),
        created_at=now(),
    )
    return reference, chosen
