"""A manifest: CSV in UTF-8 with `person_id`, `photo` and, where wanted, `face_id` and `face`.

Photos are named relative to the manifest's folder and lie below it. `gateway-server
reenrol --manifest` writes such a file of everybody whom the gateway knows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from inference_server.bulk import Listed, PhotoRefused, Refused, SourceUnusable
from inference_server.bulk.photo_files import check_path, checked, read_file, refusal

REQUIRED: Final = ("person_id", "photo")
COLUMNS: Final = ("person_id", "face_id", "photo", "face")
MAX_FACE_DIGITS: Final = 4

Cells = Mapping[str, str]


class ManifestSource:
    def __init__(self, path: Path, max_photo_bytes: int) -> None:
        self._path = path
        self._folder = path.parent
        self._max_photo_bytes = max_photo_bytes

    def count(self) -> int:
        return sum(1 for _ in self._records())

    def photos(self) -> Iterator[Listed | Refused]:
        for cells in self._records():
            yield self._listed(cells)

    def _records(self) -> Iterator[Cells]:
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                columns = _columns(next(reader, []))
                for cells in filter(any, reader):
                    yield _fitted(columns, cells, reader.line_num)
        except (OSError, UnicodeError, csv.Error) as error:
            raise SourceUnusable(f"{self._path} is no CSV in UTF-8: {error}.") from error

    def _listed(self, cells: Cells) -> Listed | Refused:
        photo = cells["photo"]
        try:
            return Listed(
                name=check_path(photo),
                person_id=checked("person_id", cells["person_id"]),
                face_id=checked("face_id", cells["face_id"]) if cells.get("face_id") else None,
                face=_face(cells.get("face", "")),
                read=lambda: read_file(self._folder, photo, self._max_photo_bytes),
            )
        except PhotoRefused as error:
            return refusal(photo, cells["person_id"], error)


def _columns(header: Sequence[str]) -> Sequence[str]:
    columns = [cell.strip().lower() for cell in header]
    unknown = [one for one in columns if one not in COLUMNS]
    missing = [one for one in REQUIRED if one not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        raise SourceUnusable(
            f"A manifest's columns are {', '.join(COLUMNS)}; {', '.join(REQUIRED)} must be there, "
            f"none twice: not {', '.join(columns)[:200]!r}."
        )
    return columns


def _fitted(columns: Sequence[str], cells: Sequence[str], line: int) -> Cells:
    """A record of another length would shift people's photos: nothing after it can be trusted."""
    if len(cells) != len(columns):
        raise SourceUnusable(f"Line {line} has {len(cells)} cells and the header {len(columns)}.")
    return {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}


def _face(given: str) -> int | None:
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= MAX_FACE_DIGITS):
        raise PhotoRefused("invalid-option", f"face={given[:64]!r} is no index of a face.")
    return int(given)
