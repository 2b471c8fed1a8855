"""Whether a search would be answered now: a real inference, and the store."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from face_models.errors import PhotoError
from inference_server.face_pipeline import FacePipeline, stamp_of
from inference_server.gallery import Counts, Gallery
from inference_server.problems import NotReady
from inference_server.scale import Scale

PROOF_PHOTO: Final = "nobody.webp"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """`outdated_faces`: enrolled with other networks or settings, found by no search until anew.

    `uncalibrated`: models whose similarities nothing is known of.
    """

    counts: Counts
    outdated_faces: int
    uncalibrated: tuple[str, ...]


class ReadinessCheck:
    def __init__(self, pipeline: FacePipeline, gallery: Gallery) -> None:
        self._pipeline = pipeline
        self._gallery = gallery
        self._photo = (files("inference_server") / PROOF_PHOTO).read_bytes()

    def run(self) -> Readiness:
        """Finds and embeds the face of a person who does not exist, and asks the store.

        Raises:
            NotReady, EmbeddingFailed, StoreUnavailable
        """
        self._prove_inference()
        outdated = self._gallery.store.count_outdated(stamp_of(self._pipeline))
        if outdated:
            log.warning(
                "%d faces were enrolled with other networks or settings; no search finds them",
                outdated,
            )
        uncalibrated = Scale(self._pipeline).uncalibrated
        return Readiness(self._gallery.index.counts(), outdated, uncalibrated)

    def _prove_inference(self) -> None:
        try:
            face = self._pipeline.choose(self._pipeline.analyse(self._photo))
        except PhotoError as error:
            raise NotReady(f"The networks fail on a photo that is known: {error}") from error
        self._pipeline.embed([face])
