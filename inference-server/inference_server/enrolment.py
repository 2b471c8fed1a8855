"""A photo becomes a reference of the gallery; only its embeddings are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from inference_server.face_pipeline import FacePipeline, stamp_of
from inference_server.gallery import Reference, Registry


def utc_now() -> datetime:
    return datetime.now(UTC)


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
        analysis = self._pipeline.analyse(photo)
        chosen = self._pipeline.choose(analysis, face)
        embeddings = self._pipeline.embed([chosen])
        return self._registry.add_face(
            Reference(
                face_id=face_id,
                person_id=person_id,
                base=embeddings.base[0],
                heatmap=embeddings.heatmap[0],
                stamp=self._stamp,
                photo_sha256=hashlib.sha256(photo).hexdigest(),
                face_index=chosen.index,
                box=chosen.box,
                quality=chosen.quality,
                warnings=(*analysis.warnings_for(face), *chosen.warnings),
                created_at=self._now(),
            )
        )
