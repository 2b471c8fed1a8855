"""One process of a pool: photo after photo becomes a reference, with networks of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from face_models.errors import EmbeddingFailed, PhotoError
from face_models.pipeline import Pipeline, PipelineSettings
from face_models.spec import WEIGHTS_DIR
from inference_server.bulk import Embedded, Outcome, Photo, Refused
from inference_server.enrolment import Origin, make_reference
from inference_server.face_pipeline import FacePipeline, stamp_of

READY: Final = "ready"
ONNX_THREADS: Final = 1  # every core has a process of its own

LoadPipeline = Callable[[], FacePipeline]
"""Travels to the processes, so a lambda will not do."""


@dataclass(frozen=True, slots=True)
class LoadShipped:
    """The pipeline of a weights folder; None is the shipped one, wherever it lies there."""

    weights_dir: Path | None
    settings: PipelineSettings

    def __call__(self) -> Pipeline:
        return Pipeline.load(self.weights_dir or WEIGHTS_DIR, ONNX_THREADS, self.settings)


class PhotoEmbedder:
    def __init__(self, pipeline: FacePipeline) -> None:
        self._pipeline = pipeline
        self._stamp = stamp_of(pipeline)

    def embed(self, photo: Photo) -> Outcome:
        origin = Origin(photo.person_id, photo.face_id, photo.face, photo.sha256)
        try:
            reference, _ = make_reference(self._pipeline, self._stamp, photo.data, origin)
        except (PhotoError, EmbeddingFailed) as error:
            return Refused(photo.name, photo.person_id, error.slug, str(error))
        return Embedded(photo.name, reference)


def work(connection: Connection[Any, Any]) -> None:
    """Until whoever holds the other end lets go of it, killed or not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    with suppress(EOFError, ConnectionError):
        load: LoadPipeline = connection.recv()
        embedder = PhotoEmbedder(load())
        connection.send(READY)
        while True:
            connection.send(embedder.embed(connection.recv()))


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])))
