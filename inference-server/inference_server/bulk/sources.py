"""What is enrolled, by what lies there: a folder of folders, an archive of the same, a manifest."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from inference_server.bulk import Listed, Refused, Source, SourceUnusable
from inference_server.bulk.archives import TarSource, ZipSource
from inference_server.bulk.manifest import ManifestSource
from inference_server.bulk.photo_files import is_hidden, listed_file


def open_source(path: Path, max_photo_bytes: int) -> Source:
    """Told apart by content; a manifest by its name, `*.csv`.

    Raises:
        SourceUnusable: there is nothing that can be read.
    """
    if path.is_dir():
        return FolderSource(path, max_photo_bytes)
    if not path.is_file():
        raise SourceUnusable(f"{path} is neither a folder nor a file.")
    if path.suffix.lower() == ".csv":
        return ManifestSource(path, max_photo_bytes)
    if zipfile.is_zipfile(path):
        return ZipSource(path, max_photo_bytes)
    return TarSource(path, max_photo_bytes)


class FolderSource:
    """One folder per person; what lies beside these folders is nobody's photo."""

    def __init__(self, folder: Path, max_photo_bytes: int) -> None:
        self._folder = folder
        self._max_photo_bytes = max_photo_bytes

    def count(self) -> int:
        return sum(1 for _ in self._paths())

    def photos(self) -> Iterator[Listed | Refused]:
        for path in self._paths():
            yield listed_file(path, self._folder, self._max_photo_bytes)

    def _paths(self) -> Iterator[str]:
        """One person's names are in memory at a time."""
        try:
            for person in _names(self._folder, folders_only=True):
                for photo in _names(self._folder / person, folders_only=False):
                    yield f"{person}/{photo}"
        except OSError as error:
            raise SourceUnusable(f"{error.filename}: {error.strerror}.") from error


def _names(folder: Path, *, folders_only: bool) -> list[str]:
    with os.scandir(folder) as found:
        kept = (one for one in found if not folders_only or one.is_dir(follow_symlinks=False))
        return sorted(one.name for one in kept if not is_hidden(one.name))
