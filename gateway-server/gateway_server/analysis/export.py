"""`gateway-server export`: searches, candidates, verdicts, timings and failures, a file each."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from gateway_server.analysis import tables
from gateway_server.analysis.files import CsvFile, TableFile
from gateway_server.analysis.history import History, Told
from gateway_server.analysis.parquet import ParquetFile
from gateway_server.analysis.period import add_period, read_period
from gateway_server.analysis.tables import Line, Table
from gateway_server.audit import append
from gateway_server.commands import with_database
from gateway_server.database import Database
from gateway_server.settings import SettingsError

FORMATS: Mapping[str, Callable[[Path, Table], TableFile]] = {
    "csv": CsvFile,
    "parquet": ParquetFile,
}


def add_commands(parser: argparse.ArgumentParser) -> None:
    add_period(parser, required=True)
    parser.add_argument("--to", required=True, type=Path, help="a folder, made if it is not there")
    parser.add_argument("--format", choices=list(FORMATS), default="csv")
    parser.add_argument(
        "--with-names",
        action="store_true",
        help="also names, notes, references and purposes, which tell who somebody is",
    )
    parser.set_defaults(run=_run)


def _run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    period = read_period(asked)

    async def export(database: Database) -> int:
        async with database.write() as session:
            await append(session, "export")
        history = History(database, period)
        counts = await write_tables(history, asked.to, asked.format, with_names=asked.with_names)
        for name, lines in counts.items():
            print(f"{name}: {lines}")
        return 0

    return with_database(environment, export)


async def write_tables(
    history: History, folder: Path, format_name: str, *, with_names: bool
) -> Mapping[str, int]:
    """How many lines each table has. Raises SettingsError where the folder cannot take them."""
    try:
        with ExitStack() as closing:
            export = _Export(folder, format_name, closing, with_names=with_names)
            async for told in history.searches():
                export.tell(told)
            async for failures in history.failures():
                export.write(tables.FAILURES, [tables.failure_line(one) for one in failures])
            if with_names:
                async for persons in history.persons(export.person_ids):
                    export.write(tables.PERSONS, [tables.person_line(one) for one in persons])
            return export.counts
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}: {error.filename}") from error


class _Export:
    """The open files, and who was named in them."""

    def __init__(
        self, folder: Path, format_name: str, closing: ExitStack, *, with_names: bool
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.person_ids: set[str] = set()
        self.counts: dict[str, int] = {}
        self._files: dict[str, TableFile] = {}
        for table in tables.ALL:
            if with_names or not table.is_private:
                file = FORMATS[format_name](folder, table.shown(with_names=with_names))
                closing.callback(file.close)
                self._files[table.name] = file
                self.counts[table.name] = 0

    def tell(self, told: Told) -> None:
        by_id = {one.id: one for one in told.searches}
        verdicts = [tables.verdict_line(one, by_id[one.search_id]) for one in told.verdicts]
        candidates = [line for one in told.searches for line in tables.candidate_lines(one)]
        self.write(tables.SEARCHES, [tables.search_line(one) for one in told.searches])
        self.write(tables.CANDIDATES, candidates)
        self.write(tables.VERDICTS, verdicts)
        timings = [line for one in told.searches for line in tables.timing_lines(one)]
        self.write(tables.TIMINGS, timings)
        self.person_ids |= {line["person_id"] for line in (*candidates, *verdicts)}

    def write(self, table: Table, lines: Sequence[Line]) -> None:
        self._files[table.name].write(lines)
        self.counts[table.name] += len(lines)
