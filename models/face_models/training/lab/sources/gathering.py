"""A study's photos from its source, cut and written down."""

from __future__ import annotations

from pathlib import Path

from face_models.align import CROP_PX
from face_models.training.lab import photos
from face_models.training.lab.settings import Study
from face_models.training.lab.sources import aihub, drawn, identities, yaleb
from face_models.training.lab.sources.crop import face_in_crop
from face_models.training.robustness.conditions import FACE_IN_CROP, Box

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def keep_photos(study: Study, data_dir: Path, cache_dir: Path, size_px: int, into: Path) -> None:
    """`cache_dir` keeps the decoded training set."""
    if study.source == "yaleb":
        table = yaleb.read_table(data_dir)
        photos.keep(yaleb.shots(table, size_px), len(table), WHOLE, into)
    elif study.source == "identities":
        faces = identities.find(data_dir, cache_dir, identities.People(**study.settings))
        photos.keep(identities.shots(faces, size_px), len(faces), _aligned_face(), into)
    else:
        _keep_boxed(study, data_dir, size_px, into)


def _keep_boxed(study: Study, data_dir: Path, size_px: int, into: Path) -> None:
    settings = {"folder": drawn.PHOTOS} if study.source == "drawn" else study.settings
    layout = aihub.Layout(**settings)
    folder = data_dir / layout.folder
    records = aihub.find_records(folder, layout)
    photos.keep(aihub.shots(records, folder, size_px), len(records), face_in_crop(), into)


def _aligned_face() -> Box:
    x, y, width, height = (side / CROP_PX for side in FACE_IN_CROP)
    return x, y, width, height
