"""Everything an operator can set, once: name, default, unit and help of each variable.

gunicorn's master reads this, so nothing here may import ONNX Runtime (see serving.py).
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from face_models.photo import PhotoLimits
from face_models.spec import WEIGHTS_DIR
from face_models.template import DESCRIPTORS, EMBEDDING
from inference_server.gallery.milvus_connection import is_lite
from inference_server.gallery.milvus_schema import KINDS

REQUIRED: Final = "(required)"
SHIPPED: Final = "(shipped)"
BESIDE_DATABASE: Final = "(beside the database)"
NONE: Final = "(none)"
MIN_TOKEN_CHARS: Final = 16

_LIMITS: Final = PhotoLimits()


class SettingsError(Exception):
    """A setting is missing or cannot be used; the message names it and its rule."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the settings' table."""

    name: str
    default: str
    unit: str
    help: str


def _setting(
    default: str | float,
    unit: str,
    text: str,
    *,
    at_least: float = 0,
    at_most: float = float("inf"),
    secret: bool = False,
) -> Any:  # noqa: ANN401 - like dataclasses.field: whatever its field is
    bounds = (at_least, at_most)
    metadata = {"default": default, "unit": unit, "help": text, "bounds": bounds}
    return field(metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The inference server's environment. Values are checked here and nowhere else."""

    database_url: str = _setting(
        "sqlite:///./data/gallery.db",
        "URL",
        "gallery of biometric references; postgresql://… for several hosts",
        secret=True,
    )
    index_dir: str = _setting(
        BESIDE_DATABASE,
        "path",
        "folder of the search index's snapshot, on a local disk and of this gallery alone; beside "
        "PostgreSQL there is none: each worker then reads and keeps the whole gallery",
    )
    index_url: str = _setting(
        NONE,
        "URL",
        "Milvus, which searches in place of this process: http://host:19530, or a path ending in "
        ".db for Milvus Lite with WORKERS=1; without it: exact search in process",
        secret=True,
    )
    index_kind: str = _setting(
        "FLAT",
        "name",
        "how Milvus indexes vectors: FLAT (exact), IVF_SQ8, HNSW or DISKANN; a change needs "
        "`inference-server index build`",
    )
    internal_token: str = _setting(
        REQUIRED,
        "text",
        f"what callers must show, at least {MIN_TOKEN_CHARS} characters",
        secret=True,
    )
    host: str = _setting("127.0.0.1", "address", "where to listen")
    port: int = _setting(8001, "port", "where to listen", at_most=65535)
    workers: int = _setting(2, "processes", "each loads the networks", at_least=1)
    threads: int = _setting(4, "threads", "requests at a time in each worker", at_least=1)
    onnx_threads: int = _setting(1, "threads", "of one inference", at_least=1)
    weights_dir: Path = _setting(  # noqa: RUF009 - it is dataclasses.field, filled in
        SHIPPED, "path", "folder of the networks and model.json"
    )
    shadow_weights_dir: Path | None = _setting(  # noqa: RUF009 - it is dataclasses.field, filled in
        NONE,
        "path",
        "folder of networks that are to take the others' place: every face is enrolled with both, "
        "until `inference-server index switch`",
    )
    max_photo_bytes: int = _setting(
        _LIMITS.max_bytes, "bytes", "largest photo accepted", at_least=1
    )
    max_photo_pixels: int = _setting(
        _LIMITS.max_pixels, "pixels", "largest width x height accepted", at_least=1
    )
    min_face_px: float = _setting(24.0, "pixels", "shorter side of a face's box, as decoded")
    min_quality: int = _setting(
        3, "0..100", "least quality of the face that is compared", at_most=100
    )
    descriptor: str = _setting(
        EMBEDDING,
        "name",
        "what stands for a face where the heatmap model is asked: the network's embedding, or "
        "`heatmap`, the paper's 16,384 numbers; a change needs a new enrolment",
    )
    flip: int = _setting(
        0,
        "0 or 1",
        "1: embeddings of face and mirror image are added; a change needs a new enrolment",
        at_most=1,
    )
    lead_max_expected_false_matches: float = _setting(
        0.1, "faces", "a candidate is a lead while chance explains at most so many"
    )
    verify_max_false_match_rate: float = _setting(
        0.001, "rate", "two photos are the same person up to this FMR", at_most=1
    )
    keepalive_s: int = _setting(75, "s", "how long an idle connection is kept", at_least=1)
    graceful_timeout_s: int = _setting(30, "s", "for running requests at a stop", at_least=1)
    log_level: str = _setting("INFO", "level", "least level of the journal's lines")

    def __post_init__(self) -> None:
        if len(self.internal_token) < MIN_TOKEN_CHARS:
            raise SettingsError(f"INTERNAL_TOKEN needs at least {MIN_TOKEN_CHARS} characters.")
        if not (self.internal_token.isascii() and self.internal_token.isprintable()):
            raise SettingsError("INTERNAL_TOKEN travels in an HTTP header: plain ASCII only.")
        if self.log_level not in logging.getLevelNamesMapping():
            raise SettingsError(f"LOG_LEVEL={self.log_level!r} is not a level such as INFO.")
        if self.descriptor not in DESCRIPTORS:
            known = " or ".join(DESCRIPTORS)
            raise SettingsError(f"DESCRIPTOR={self.descriptor!r} is not {known}.")

        self._check_index()

    def _check_index(self) -> None:
        if self.index_kind not in KINDS:
            known = ", ".join(KINDS)
            raise SettingsError(f"INDEX_KIND={self.index_kind!r} is none of {known}.")
        if is_lite(self.index_url) and self.workers > 1:
            raise SettingsError(
                f"INDEX_URL={self.index_url!r} is Milvus Lite, which one process may open: "
                f"WORKERS={self.workers} has to be 1, or INDEX_URL the address of a Milvus."
            )

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> Self:
        """What `environment` names, and defaults for the rest.

        Raises:
            SettingsError
        """
        given: dict[str, Any] = {
            f.name: _read(f.name, f.type, f.metadata, environment) for f in fields(cls)
        }
        return cls(**given)

    @classmethod
    def without_token(cls, environment: Mapping[str, str]) -> Self:
        """For commands that nobody calls: they need no secret of the serving process."""
        return cls.from_mapping({**environment, "INTERNAL_TOKEN": "-" * MIN_TOKEN_CHARS})

    @classmethod
    def rows(cls) -> Iterator[SettingRow]:
        for f in fields(cls):
            default, unit, text = (str(f.metadata[key]) for key in ("default", "unit", "help"))
            yield SettingRow(f.name.upper(), default, unit, text)


Value = str | int | float | Path | None


def _read(
    name: str,
    kind: Any,  # noqa: ANN401 - the class that a field is annotated with
    metadata: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Value:
    text = environment.get(name.upper(), "").strip() or str(metadata["default"])
    if text == REQUIRED:
        raise SettingsError(f"{name.upper()} must be set: {metadata['help']}.")
    if text == SHIPPED:
        return WEIGHTS_DIR
    if text == NONE:
        return None if kind == Path | None else ""
    if kind == Path | None:
        return Path(text)
    try:
        value: Value = kind(text)
    except ValueError as error:
        raise SettingsError(f"{name.upper()}={text!r} is not a number.") from error
    _check_bounds(name, value, *metadata["bounds"])
    return value


def _check_bounds(name: str, value: Value, at_least: float, at_most: float) -> None:
    if isinstance(value, int | float) and not at_least <= value <= at_most:  # refuses NaN, too
        raise SettingsError(f"{name.upper()}={value} is not in {at_least:g}..{at_most:g}.")
