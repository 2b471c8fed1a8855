"""`gateway-server import FOLDER`: people and photos that lie on this host already."""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway_server.gateway import Gateway, open_gateway
from gateway_server.imports.ledger import RowsWanted
from gateway_server.imports.service import FolderOrder
from gateway_server.metrics import Metrics
from gateway_server.paging import MAX_LIMIT
from gateway_server.schemas import ImportOut
from gateway_server.settings import Settings, SettingsError
from gateway_server.tables import ImportRun

USUAL_TABLE = "people.csv"
PROGRESS_EVERY_S = 2.0
BAR_CHARACTERS = 30
INTERRUPTED = 130  # what a shell makes of Ctrl-C


def add_commands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="with people.csv, or a folder for each person")
    parser.add_argument("--table", help=f"a CSV, named from the folder; {USUAL_TABLE} if there")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with what was broken off")
    again.add_argument("--anew", action="store_true", help="begin again and leave that behind")
    parser.set_defaults(run=_run)


def _run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings, order = Settings.from_mapping(environment), _order(asked)

    async def run() -> int:
        async with open_gateway(settings, Metrics(), None) as gateway:
            begun = await gateway.imports.begin_folder(order, resume=asked.resume, anew=asked.anew)
            async with gateway.workers.at_work():
                return await report_import(gateway, begun)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        print("\ngateway-server: broken off; --resume goes on", file=sys.stderr)
        return INTERRUPTED


def _order(asked: argparse.Namespace) -> FolderOrder:
    folder = asked.folder.resolve()
    if not folder.is_dir():
        raise SettingsError(f"{asked.folder} is no folder")
    table = folder / (asked.table or USUAL_TABLE)
    if asked.table and not table.is_file():
        raise SettingsError(f"{table} is no file")
    return FolderOrder(folder, table if table.is_file() else None)


async def report_import(gateway: Gateway, run: ImportRun) -> int:
    """The exit status: 1 unless every photo is enrolled, or was before."""
    working = asyncio.create_task(gateway.imports.work_off(run))
    while not working.done():
        await asyncio.wait([working], timeout=PROGRESS_EVERY_S)
        _print_progress(await gateway.imports.ledger.get(run.id))
    await working
    _end_line()
    for outcome in ("refused", "failed"):
        await _print_rows(gateway, run.id, outcome)
    now = (await gateway.imports.ledger.get(run.id)).rows
    print(
        f"{sum(now.model_dump(exclude={'also_of'}).values())} rows: {now.enrolled} enrolled, "
        f"{now.duplicate} enrolled before, {now.refused} refused, {now.failed} given up for now"
    )
    if now.also_of:
        print(f"{now.also_of} photos are of two people: look at them")
    return 1 if now.refused or now.failed or now.pending or now.waiting else 0


def _print_progress(now: ImportOut) -> None:
    """A bar where somebody looks on, a line elsewhere."""
    facts = f"{now.progress:6.1%} of {now.total or '?'} rows, {now.rows.refused} refused"
    if not sys.stdout.isatty():
        print(facts, flush=True)
        return
    done = round(now.progress * BAR_CHARACTERS)
    print(f"\r[{'#' * done:{BAR_CHARACTERS}}] {facts}", end="", flush=True)


def _end_line() -> None:
    if sys.stdout.isatty():
        print()


async def _print_rows(gateway: Gateway, run_id: str, outcome: str) -> None:
    cursor: str | None = None
    while True:
        page = await gateway.imports.ledger.rows(run_id, RowsWanted(outcome, cursor, MAX_LIMIT))
        for row in page.rows:
            why = row.problem
            said = f"{why.type.rpartition(':')[2]}: {why.detail}" if why else "-"
            print(f"{outcome}: row {row.row} {row.file or '-'}: {said}")
        cursor = page.next_cursor
        if cursor is None:
            return
