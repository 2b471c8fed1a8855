"""multipart/form-data, piece by piece: bytes go in as they arrive, events come out."""

from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway_server.problems import BrokenMultipart, NotMultipart

MAX_HEADERS_PER_PART = 8
MAX_HEADER_BYTES = 4096


@dataclass(frozen=True)
class PartBegins:
    field: str
    is_file: bool


@dataclass(frozen=True)
class PartContinues:
    data: bytes


@dataclass(frozen=True)
class PartEnds:
    pass


Event = PartBegins | PartContinues | PartEnds


class MultipartReader:
    """Raises NotMultipart and BrokenMultipart."""

    def __init__(self, content_type: str | None) -> None:
        self._events: list[Event] = []
        self._header_name = b""
        self._header_value = b""
        self._disposition: str | None = None
        self._ended = False
        self._parser = self._make_parser(_boundary(content_type))

    def _make_parser(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
                max_header_count=MAX_HEADERS_PER_PART,
                max_header_size=MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise BrokenMultipart(str(error)) from error

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete, in order."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BrokenMultipart(str(error)) from error
        events, self._events = self._events, []
        yield from events

    def finish(self) -> None:
        if not self._ended:
            raise BrokenMultipart("The body ends before its closing boundary")

    def _on_part_begin(self) -> None:
        self._disposition = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        kind, parameters = _options(self._disposition)
        if kind != "form-data" or "name" not in parameters:
            raise BrokenMultipart("A part has no field name")
        self._events.append(PartBegins(parameters["name"], "filename" in parameters))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartContinues(data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(PartEnds())

    def _on_end(self) -> None:
        self._ended = True


def _boundary(content_type: str | None) -> bytes:
    kind, parameters = _options(content_type)
    if kind != "multipart/form-data":
        raise NotMultipart(f"The Content-Type is {kind or 'missing'}")
    if not parameters.get("boundary"):
        raise BrokenMultipart("The Content-Type names no boundary")
    return parameters["boundary"].encode("latin-1", "replace")


def _options(header: str | None) -> tuple[str, dict[str, str]]:
    """Value and parameters of a header; `parse_options_header` needs latin-1, names are UTF-8."""
    if header is None:
        return "", {}
    kind, parameters = parse_options_header(header.encode("utf-8").decode("latin-1"))
    return kind.decode("latin-1"), {
        key.decode("latin-1"): value.decode("utf-8", "replace") for key, value in parameters.items()
    }
