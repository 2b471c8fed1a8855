"""Everything an operator can set, once: name, unit, default and help of every variable."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, Self

DATABASES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+asyncpg")
CACHES = ("memory", "redis", "rediss", "unix")
NO_LIMIT = "none"
_RATE = re.compile(r"[1-9][0-9]*/(second|minute|hour|day)")


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
    rate: bool = False,
) -> Mapping[str, Any]:
    """`schemes` of a URL, the first part of it; none are demanded of other texts."""
    bounds = {"least": least, "most": most}
    return {"unit": unit, "help": text, "schemes": schemes, "rate": rate, **bounds}


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
    forwarded_allow_ips: str = field(
        default="127.0.0.1",
        metadata=_about(
            "addresses", "proxies in front, whose X-Forwarded-For says who asks; with commas, or *"
        ),
    )
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
    upload_within_s: float = field(
        default=300.0, metadata=_about("s", "a form may take to arrive", least=0.01)
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
    answer_wait_s: float = field(
        default=15.0,
        metadata=_about("s", "an answer waits for the inference tier; then it is 202, for later"),
    )
    job_concurrency: int = field(
        default=8, metadata=_about("jobs", "worked off at a time by each process", least=1)
    )
    job_lease_s: float = field(
        default=30.0,
        metadata=_about("s", "after which the work of a killed process is taken up", least=0.1),
    )
    job_attempts: int = field(
        default=12, metadata=_about("attempts", "before a job is given up to operators", least=1)
    )
    first_pause_s: float = field(
        default=1.0,
        metadata=_about("s", "before a second attempt; doubles each time", least=0.01),
    )
    longest_pause_s: float = field(
        default=300.0, metadata=_about("s", "between two attempts at most", least=0.01)
    )
    max_waiting: int = field(
        default=10_000,
        metadata=_about("jobs", "waiting, before new searches are refused with 503", least=1),
    )
    drain_s: float = field(
        default=20.0, metadata=_about("s", "that running jobs get to end when the gateway stops")
    )
    breaker_failures: int = field(
        default=5, metadata=_about("calls", "failed in a row, before none are made", least=1)
    )
    breaker_pause_s: float = field(
        default=1.0, metadata=_about("s", "without calls, before one tries again", least=0.01)
    )
    idempotency_kept_s: float = field(
        default=86_400.0, metadata=_about("s", "that answers are kept for their Idempotency-Key")
    )
    idempotency_kept_mobile_s: float = field(
        default=2_592_000.0,
        metadata=_about("s", "the same for phones, whose photos may wait so long for a network"),
    )
    rate_mobile: str = field(
        default="300/minute",
        metadata=_about(
            "requests", "of a phone's key; a search counts 5, `none` is no limit", rate=True
        ),
    )
    rate_operator: str = field(
        default="1200/minute",
        metadata=_about("requests", "of an operator's key; photos count 5", rate=True),
    )
    rate_admin: str = field(
        default="1200/minute", metadata=_about("requests", "of an admin's key", rate=True)
    )
    rate_strangers: str = field(
        default="30/minute",
        metadata=_about("requests", "without a valid key, of each client address", rate=True),
    )
    import_dir: Path = field(
        default=Path("data/imports"),
        metadata=_about("path", "folder of uploads that are still being imported"),
    )
    import_batch: int = field(
        default=20, metadata=_about("rows", "of an import in one transaction", least=1)
    )
    import_max_bytes: int = field(
        default=2 * 1024**3, metadata=_about("bytes", "largest import, table and archive", least=1)
    )
    import_max_rows: int = field(
        default=100_000, metadata=_about("rows", "most in one import", least=1)
    )
    retention_days: int = field(
        default=30,
        metadata=_about(
            "days",
            "that searches and what is settled are kept; 0: until somebody deletes them",
            most=36_500,
        ),
    )
    review_min_confidence: float = field(
        default=0.5,
        metadata=_about("0 to 1", "candidates at or above it are put to reviewers", most=1),
    )
    session_idle_s: float = field(
        default=1800.0,
        metadata=_about("s", "without a request, after which a browser is signed out", least=1),
    )
    session_idle_mobile_s: float = field(
        default=2_592_000.0,
        metadata=_about("s", "the same for browsers signed in with a phone's key", least=1),
    )
    session_max_s: float = field(
        default=43_200.0,
        metadata=_about("s", "after which an operator signs in again, idle or not", least=1),
    )
    log_level: str = field(default="INFO", metadata=_about("level", "least level of a log line"))

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
        return str(cls._read_one("database_url", environment))

    @classmethod
    def read_retention(cls, environment: Mapping[str, str]) -> "RetentionSettings":
        names = (one.name for one in fields(RetentionSettings))
        values: dict[str, Any] = {name: cls._read_one(name, environment) for name in names}
        return RetentionSettings(**values)

    @classmethod
    def _read_one(cls, name: str, environment: Mapping[str, str]) -> object:
        (setting,) = (one for one in fields(cls) if one.name == name)
        return _read(setting, environment.get(name.upper(), "").strip())

    @classmethod
    def rows(cls) -> Iterator[SettingRow]:
        """What the `settings` command and the README's table show."""
        for one in fields(cls):
            default = "(required)" if one.default is MISSING else str(one.default)
            yield SettingRow(one.name.upper(), default, one.metadata["unit"], one.metadata["help"])


@dataclass(frozen=True)
class RetentionSettings:
    """For the command, which needs no secret of the serving process."""

    photo_dir: Path
    retention_days: int
    idempotency_kept_s: float
    idempotency_kept_mobile_s: float


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
    if setting.metadata["rate"] and text != NO_LIMIT and not _RATE.fullmatch(text):
        raise SettingsError(f"{name} is {text!r}; it is like 60/minute, or {NO_LIMIT}")
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
