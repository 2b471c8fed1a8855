"""Everything an operator can set, once: name, unit, default and help of every variable."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, Self

DATABASES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+asyncpg")
CACHES = ("memory", "redis", "rediss", "unix")
CALLS_PER_SEARCH = 2  # what is in the gallery, then the match


class SettingsError(Exception):
    """A setting is missing or cannot be read; the message names it."""


@dataclass(frozen=True)
class SettingRow:
    name: str
    default: str
    unit: str
    help: str


def _about(
    unit: str,
    text: str,
    *,
    least: float = 0,
    most: float = inf,
    schemes: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """`schemes` of a URL, the first part of it; none are demanded of other texts."""
    return {"unit": unit, "help": text, "least": least, "most": most, "schemes": schemes}


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = field(
        default="sqlite+aiosqlite:///./data/gateway.db",
        repr=False,
        metadata=_about(
            "URL",
            "people, searches, failures, keys; postgresql://… for several gateways",
            schemes=DATABASES,
        ),
    )
    photo_dir: Path = field(
        default=Path("data/photos"), metadata=_about("path", "folder of the stored photos")
    )
    inference_url: str = field(
        default="http://127.0.0.1:8001",
        metadata=_about("URL", "the inference tier", schemes=("http", "https")),
    )
    internal_token: str = field(
        repr=False, metadata=_about("text", "what the gateway shows to the inference tier")
    )
    host: str = field(default="127.0.0.1", metadata=_about("address", "where to listen"))
    port: int = field(default=8000, metadata=_about("port", "where to listen", most=65535))
    workers: int = field(
        default=1, metadata=_about("processes", "gateway processes behind the one port", least=1)
    )
    cache_url: str = field(
        default="memory://",
        repr=False,
        metadata=_about("URL", "cache of results; redis://… for several gateways", schemes=CACHES),
    )
    cache_ttl_s: float = field(
        default=3600.0, metadata=_about("s", "how long a result may be answered again")
    )
    cache_entries: int = field(
        default=10_000, metadata=_about("results", "kept by memory:// at most", least=1)
    )
    max_photo_bytes: int = field(
        default=20 * 1024 * 1024, metadata=_about("bytes", "largest photo accepted", least=1)
    )
    max_photo_pixels: int = field(
        default=50_000_000, metadata=_about("pixels", "largest width x height accepted", least=1)
    )
    max_photos_per_request: int = field(
        default=20, metadata=_about("photos", "most in one enrolment", least=1)
    )
    connect_timeout_s: float = field(
        default=2.0, metadata=_about("s", "to reach the inference tier")
    )
    read_timeout_s: float = field(
        default=30.0, metadata=_about("s", "between two pieces of its answer")
    )
    write_timeout_s: float = field(
        default=10.0, metadata=_about("s", "between two pieces of a photo sent to it")
    )
    pool_timeout_s: float = field(default=5.0, metadata=_about("s", "for a free connection to it"))
    inference_connections: int = field(
        default=16, metadata=_about("connections", "to it at a time, at most", least=1)
    )
    log_level: str = field(default="INFO", metadata=_about("level", "least level of a log line"))

    @property
    def abandoned_after_s(self) -> float:
        """Twice what the calls of one search may wait; no living search is as old."""
        attempt_s = (
            self.pool_timeout_s
            + self.connect_timeout_s
            + self.write_timeout_s
            + self.read_timeout_s
        )
        return 2 * CALLS_PER_SEARCH * attempt_s

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> Self:
        """What `environment` names, and defaults for the rest."""
        named = {one.name: environment.get(one.name.upper(), "").strip() for one in fields(cls)}
        values: dict[str, Any] = {one.name: _read(one, named[one.name]) for one in fields(cls)}
        _check_header("INTERNAL_TOKEN", values["internal_token"])
        return cls(**values)

    @classmethod
    def read_database_url(cls, environment: Mapping[str, str]) -> str:
        """For commands that need the database alone, and no secret of the serving process."""
        (setting,) = (one for one in fields(cls) if one.name == "database_url")
        return str(_read(setting, environment.get("DATABASE_URL", "").strip()))

    @classmethod
    def rows(cls) -> Iterator[SettingRow]:
        """What the `settings` command and the README's table show."""
        for one in fields(cls):
            default = "(required)" if one.default is MISSING else str(one.default)
            yield SettingRow(one.name.upper(), default, one.metadata["unit"], one.metadata["help"])


_KINDS: Mapping[object, type[str] | type[int] | type[float] | type[Path]] = {
    kind: kind for kind in (str, int, float, Path)
}


def _read(setting: Field[Any], text: str) -> object:
    name, unit = setting.name.upper(), setting.metadata["unit"]
    if not text:
        return _default(setting)
    try:
        value = _KINDS[setting.type](text)
    except ValueError as error:
        raise SettingsError(f"{name} is {text!r}; it is a number of {unit}") from error
    if isinstance(value, int | float):
        _check_bounds(f"{name} is {text}", value, setting.metadata)
    _check_scheme(name, text, setting.metadata["schemes"])
    return value


def _check_bounds(given: str, value: float, about: Mapping[str, Any]) -> None:
    if not about["least"] <= value:  # NaN, too
        raise SettingsError(f"{given}; it may not be below {about['least']}")
    if value > about["most"]:
        raise SettingsError(f"{given}; it may not be above {about['most']}")


def _check_scheme(name: str, url: str, schemes: tuple[str, ...]) -> None:
    """The rest of the URL is not repeated: it may hold a password."""
    scheme, found, _ = url.partition("://")
    if schemes and (not found or scheme not in schemes):
        raise SettingsError(f"{name} must begin with {' or '.join(f'{one}://' for one in schemes)}")


def _check_header(name: str, text: str) -> None:
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{name} travels in an HTTP header: plain ASCII characters only")


def _default(setting: Field[Any]) -> object:
    if setting.default is MISSING:
        raise SettingsError(f"{setting.name.upper()} must be set: {setting.metadata['help']}")
    return setting.default
