"""A folder of people: one sub-folder each, named for the person, with their photos in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset({".heic", ".heif", ".jpeg", ".jpg", ".png", ".webp"})
MOST_ENROLLED = 20  # photos that the gateway takes in one enrolment


class NoPeople(Exception):
    pass


@dataclass(frozen=True)
class Subject:
    name: str
    enrolled: tuple[Path, ...]  # the photos for the gallery
    probe: Path | None  # the photo held out to search with; none where there is but one


def read_people(folder: Path, most: int | None = None, least_photos: int = 1) -> Sequence[Subject]:
    """In the order of their names; each one's last photo is held out. Raises NoPeople."""
    if not folder.is_dir():
        raise NoPeople(f"{folder} is not a folder")
    people = [
        _subject(entry, photos)
        for entry in sorted(folder.iterdir(), key=_in_order)
        if entry.is_dir() and len(photos := _photos(entry)) >= least_photos
    ]
    if not people:
        raise NoPeople(f"{folder} has no sub-folder with photos ({', '.join(sorted(SUFFIXES))})")
    return people[:most]


def _photos(folder: Path) -> list[Path]:
    found = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return sorted(found, key=_in_order)


def _subject(folder: Path, photos: Sequence[Path]) -> Subject:
    name = re.sub(r"[-_ ]+", " ", folder.name).strip()
    name = name.title() if name.islower() else name
    held_out = photos[-1] if len(photos) > 1 else None
    enrolled = photos[:-1] if held_out else photos
    return Subject(name, tuple(enrolled[:MOST_ENROLLED]), held_out)


def _in_order(path: Path) -> list[str | int]:
    """2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if part.isdecimal() else part for part in parts]
