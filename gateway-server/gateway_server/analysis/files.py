"""A table as a file that grows line by line: a port, and CSV behind it."""

import csv
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from gateway_server.analysis.tables import Line, Table

_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would compute what a text begins with: an apostrophe keeps it a text."""


class TableFile(Protocol):
    """Raises FileExistsError where one is there already."""

    def write(self, lines: Sequence[Line]) -> None: ...

    def close(self) -> None: ...


class CsvFile:
    def __init__(self, folder: Path, table: Table) -> None:
        self._columns = table.columns
        path = folder / f"{table.name}.csv"
        self._file = path.open("x", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow([one.name for one in self._columns])

    def write(self, lines: Sequence[Line]) -> None:
        self._writer.writerows([_cell(line[c.name]) for c in self._columns] for line in lines)

    def close(self) -> None:
        self._file.close()


def _cell(value: object) -> str | int | float:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime() | date():  # a moment is a day, too
            return value.isoformat()
        case str():
            return f"'{value}" if value.startswith(_FORMULA_BEGINS) else value
        case int() | float():
            return value
    raise TypeError(f"a cell holds no {type(value).__name__}")
