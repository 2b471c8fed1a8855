"""Painted people as the sources of a bulk enrolment, and pipelines that travel to processes."""

from __future__ import annotations

import csv
import io
import os
import signal
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from face_models.pipeline import Analysis, Pipeline, PipelineSettings
from tests.inference_server.painted_people import PaintedEngine, paint, painted_pipeline

KILLS = b"kills whoever looks at it"
Photos = Mapping[str, bytes]  # person/photo -> content


class DeadlyPipeline(Pipeline):
    """A photo with KILLS in it ends the process, as a decoder's fault would."""

    def analyse(self, data: bytes) -> Analysis:
        if KILLS in data:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().analyse(data)


@dataclass(frozen=True)
class LoadPainted:
    min_quality: int = 0

    def __call__(self) -> Pipeline:
        painted = painted_pipeline(PaintedEngine(), PipelineSettings(min_quality=self.min_quality))
        return DeadlyPipeline(
            painted.detector,
            painted.engine,
            painted.settings,
            painted.calibration,
            painted.cropping_sha256s,
        )


@dataclass(frozen=True)
class LoadNothing:
    """Networks that do not load in a process of a pool."""

    def __call__(self) -> Pipeline:
        raise SystemExit(3)


def painted_photos(people: int, photos: int) -> dict[str, bytes]:
    """Every photo another colour."""
    return {
        f"person-{person:03}/{photo}.png": paint((person + 1, photo + 1, 99))
        for person in range(people)
        for photo in range(photos)
    }


def as_folder(photos: Photos, where: Path) -> Path:
    for path, data in photos.items():
        file = where / "people" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return where / "people"


def as_zip(photos: Photos, where: Path) -> Path:
    with zipfile.ZipFile(where / "people.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in photos.items():
            archive.writestr(path, data)
    return where / "people.zip"


def as_tar(photos: Photos, where: Path) -> Path:
    return pack(photos, where / "people.tar", "w")


def as_tar_gz(photos: Photos, where: Path) -> Path:
    return pack(photos, where / "people.tgz", "w:gz")


def pack(photos: Photos, file: Path, mode: str) -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for path, data in photos.items():
            entry = tarfile.TarInfo(f"./{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file


def as_manifest(photos: Photos, where: Path) -> Path:
    """Without face_ids, so that it comes to the same as the others."""
    as_folder(photos, where)
    rows = [{"person_id": path.partition("/")[0], "photo": f"people/{path}"} for path in photos]
    return write_manifest(rows, where / "people.csv")


def write_manifest(rows: list[dict[str, str]], file: Path) -> Path:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


SOURCES = {
    "folder": as_folder,
    "zip": as_zip,
    "tar": as_tar,
    "tar.gz": as_tar_gz,
    "manifest": as_manifest,
}
