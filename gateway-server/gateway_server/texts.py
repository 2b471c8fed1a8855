"""What a text from outside may hold, checked once where it comes in."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from gateway_server.problems import FieldTooLong, InvalidDate, InvalidName, InvalidText

MAX_BYTES_PER_CHARACTER = 4
_LAYOUT = frozenset("\t\n\r")
_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They show a text in another order than its own; right-to-left letters need none of them."""


@dataclass(frozen=True)
class TextRule:
    max_characters: int
    several_lines: bool = False

    @property
    def max_bytes(self) -> int:
        return self.max_characters * MAX_BYTES_PER_CHARACTER

    def schema(self, **more: object) -> dict[str, Any]:
        """As much of it as JSON Schema can say."""
        return {"type": "string", "maxLength": self.max_characters, **more}

    def decode(self, field: str, data: bytes) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidText(f"`{field}` is not UTF-8", field=field) from error
        return self.check(field, text)

    def check(self, field: str, text: str) -> str:
        """The text in Unicode's composed form, without blanks around it."""
        composed = unicodedata.normalize("NFC", text).strip()
        if len(composed) > self.max_characters:
            rule = f"`{field}` may have {self.max_characters} characters and has {len(composed)}"
            raise FieldTooLong(rule, field=field)
        for character in composed:
            if not self._allows(character):
                raise InvalidText(
                    f"`{field}` holds the character U+{ord(character):04X}", field=field
                )
        return composed

    def _allows(self, character: str) -> bool:
        if character in _LAYOUT:
            return self.several_lines
        return (
            unicodedata.category(character) not in {"Cc", "Cs"}
            and character not in _DIRECTION_OVERRIDES
        )


DAY: Final = {
    "type": "string",
    "anyOf": [{"format": "date"}, {"const": ""}],
    "description": "YYYY-MM-DD; an empty one is none",
}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
LINE = TextRule(200)
OPTION = TextRule(40)
NOTES = TextRule(10_000, several_lines=True)


NAME = LINE.schema(pattern=r"\S")  # not blank


def check_name(name: str) -> str:
    if not name:
        raise InvalidName("`name` is missing or blank", field="name")
    return name


def parse_day(field: str, text: str | None) -> date | None:
    """None for a field that is missing or blank."""
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):  # `fromisoformat` knows more forms than we say
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidDate(f"`{field}` is {text!r}; a day is YYYY-MM-DD", field=field)


def parse_moment(field: str, text: str | None) -> datetime | None:
    """In UTC, unless it says otherwise; of a day alone, its first moment."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidDate(f"`{field}` is {text!r}; a moment is in ISO 8601", field=field) from error


def fold(text: str) -> str:
    """For finding a text whatever its case or width: the same on every database."""
    return unicodedata.normalize("NFKC", text).casefold()
