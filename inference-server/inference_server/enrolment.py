"""A photo becomes a reference of the gallery; only its embeddings are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from inference_server.face_pipeline import FacePipeline, stamp_of
from inference_server.gallery import ModelStamp, Reference, Registry


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
    def __init__(
        self,
        pipeline: FacePipeline,
        registry: Registry,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._pipeline = pipeline
        self._registry = registry
        self._stamp = stamp_of(pipeline)
        self._now = now

    def enrol(
        self, photo: bytes, person_id: str, face_id: str, face: int | None
    ) -> tuple[Reference, bool]:
        """The reference as it is stored, and whether it is new; safe to repeat.

        Raises:
            PhotoError, EmbeddingFailed, PersonNotFound, FaceIdInUse, StoreUnavailable
        """
        origin = Origin(person_id, face_id, face, hashlib.sha256(photo).hexdigest())
        reference = make_reference(self._pipeline, self._stamp, photo, origin, self._now)
        return self._registry.add_face(reference)


def make_reference(
    pipeline: FacePipeline,
    stamp: ModelStamp,
    photo: bytes,
    origin: Origin,
    now: Callable[[], datetime] = utc_now,
) -> Reference:
    """The one way from a photo to a reference, over HTTP as in bulk; `stamp`: of the pipeline.

    Raises:
        PhotoError, EmbeddingFailed
    """
    analysis = pipeline.analyse(photo)
    chosen = pipeline.choose(analysis, origin.face)
    embeddings = pipeline.embed([chosen])
    return Reference(
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
