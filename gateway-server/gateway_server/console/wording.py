"""What the pages say, in each language: `wording/<language>/*.toml` map a flat key to a text."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

DEFAULT_LANGUAGE: Final = "en"
LANGUAGES: Final = {"en": "English", "ko": "한국어"}
Texts = Mapping[str, str]


@cache
def texts_in(language: str) -> Texts:
    texts: dict[str, str] = {}
    for file in (files("gateway_server.console") / "wording" / language).iterdir():
        texts |= tomllib.loads(file.read_text(encoding="utf-8"))
    return texts


class Wording:
    """Templates call it: `t("people.title")`, `t("people.found", name=person.name)`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = texts_in(language)

    def __call__(self, key: str, **values: object) -> str:
        return self._texts[key].format(**values)

    def count(self, key: str, n: int, **values: object) -> str:
        """`<key>.one` or `<key>.other`, which may name {n}."""
        return self(f"{key}.{'one' if n == 1 else 'other'}", n=f"{n:,}", **values)

    def has(self, key: str) -> bool:
        return key in self._texts


def choose_language(chosen: str | None, accepted: str | None) -> str:
    """What was chosen here before; else the first that the browser prefers and we have."""
    if chosen in LANGUAGES:
        return chosen
    for wish in _by_preference(accepted or ""):
        if wish in LANGUAGES:
            return wish
    return DEFAULT_LANGUAGE


def _by_preference(accepted: str) -> list[str]:
    wishes = []
    for part in accepted.split(",")[:20]:
        tag, _, quality = part.strip().partition(";q=")
        wishes.append((_weight(quality), tag.partition("-")[0].lower()))
    return [tag for weight, tag in sorted(wishes, key=lambda one: -one[0]) if weight > 0]


def _weight(quality: str) -> float:
    try:
        return float(quality or "1")
    except ValueError:
        return 0.0
