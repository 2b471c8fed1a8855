"""An import's table: CSV in UTF-8, read record by record and never as a whole.

A record that cannot be understood is that record's fault alone. What leaves no records to be told
apart refuses the table: another encoding, unknown columns, a line without an end.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from gateway_server.problems import InvalidRow, InvalidTable, Problem, TooManyRows

REQUIRED: Final = ("name", "photo")
COLUMNS: Final = ("name", "reference", "birth_date", "missing_since", "notes", "photo")
MAX_LINE_CHARACTERS: Final = 100_000
MAX_RECORD_CHARACTERS: Final = 200_000
MAX_HEADER_CHARACTERS: Final = 1000


@dataclass(frozen=True)
class Record:
    """One record as it stands there; `number` counts as a spreadsheet does, the header is 1."""

    number: int
    texts: Mapping[str, str]
    problem: Problem | None = None


def read_table(path: Path, most: int) -> Iterator[Record]:
    """Raises InvalidTable and TooManyRows, at the latest where the fault lies."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _records(file, most)
    except UnicodeError as error:
        raise InvalidTable("The table is not UTF-8") from error


def count_records(path: Path, most: int) -> int:
    """Of a table that can be read to its end; raises as `read_table` does."""
    return sum(1 for _ in read_table(path, most))


def _records(file: TextIO, most: int) -> Iterator[Record]:
    lines = _Lines(file)
    first = lines.first()
    delimiter = ";" if first.count(";") > first.count(",") else ","
    columns = _columns(first, delimiter)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number, count = 1, 0
    while True:
        number += 1
        lines.begin_record()
        problem: InvalidRow | None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells, problem = [], InvalidRow(f"The record is no CSV: {error}")
        else:
            if not any(cells):
                continue
            problem = _misfit(cells, columns)
        count += 1
        if count > most:
            raise TooManyRows(f"A table may have {most} rows")
        yield Record(number, dict(zip(columns, cells, strict=False)), problem)


def _misfit(cells: Sequence[str], columns: Sequence[str]) -> InvalidRow | None:
    if len(cells) == len(columns):
        return None
    return InvalidRow(f"The record has {len(cells)} cells and the header {len(columns)}")


def _columns(header: str, delimiter: str) -> Sequence[str]:
    try:
        cells = next(csv.reader([header], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise InvalidTable(f"The header is no CSV: {error}") from error
    columns = [cell.strip().lower() for cell in cells]
    known = f"The columns are {', '.join(COLUMNS)}"
    unknown = [cell for cell in columns if cell not in COLUMNS]
    if unknown:
        raise InvalidTable(f"{known}; not {unknown[0][:40]!r}")
    if len(set(columns)) < len(columns):
        raise InvalidTable(f"{known}; one comes twice")
    if missing := [one for one in REQUIRED if one not in columns]:
        raise InvalidTable(f"{known}; `{missing[0]}` is missing")
    return columns


class _Lines:
    """The file's lines for the CSV reader, none of them endless, nor a record of them."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._number = 0
        self._left = MAX_RECORD_CHARACTERS

    def first(self) -> str:
        self._number = 1
        line = self._file.readline(MAX_HEADER_CHARACTERS)
        if len(line) == MAX_HEADER_CHARACTERS:
            raise InvalidTable(f"The header has more than {MAX_HEADER_CHARACTERS} characters")
        return line

    def begin_record(self) -> None:
        self._left = MAX_RECORD_CHARACTERS

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE_CHARACTERS)
        self._number += 1
        self._left -= len(line)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE_CHARACTERS or self._left < 0:
            raise InvalidTable(f"The record that ends in line {self._number} is too long")
        return line
