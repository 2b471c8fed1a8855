"""Artefacts by what they are made of: what is there is not made again, whatever was killed between.

Each is a folder named by its kind and a fingerprint of its ingredients, which stand beside it in
made_of.json. It is made in a folder of another name, where a killed maker finds its own traces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MADE_OF_FILE = "made_of.json"
DIGITS = 12


@dataclass(frozen=True)
class Artefact:
    folder: Path
    fingerprint: str


@dataclass(frozen=True)
class Shelf:
    folder: Path

    def take(
        self, name: str, made_of: Mapping[str, object], make: Callable[[Path], None]
    ) -> Artefact:
        """The artefact, made where it is not there yet; `make` fills a folder."""
        told = json.dumps(made_of, indent=1, sort_keys=True, ensure_ascii=False)
        fingerprint = hashlib.sha256(told.encode()).hexdigest()[:DIGITS]
        final = self.folder / f"{name}-{fingerprint}"
        if not final.exists():
            partial = final.with_name(final.name + ".partial")
            partial.mkdir(parents=True, exist_ok=True)
            (partial / MADE_OF_FILE).write_text(told, encoding="utf-8")
            make(partial)
            partial.rename(final)
        return Artefact(final, fingerprint)
