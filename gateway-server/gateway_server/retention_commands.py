"""`gateway-server retention …`: what is kept no longer, now and not tonight."""

import argparse
from collections.abc import Mapping
from dataclasses import fields

from gateway_server.commands import with_database
from gateway_server.database import Database
from gateway_server.one_time import AnswersKept, OneTimeRequests
from gateway_server.photo_archive import PhotoArchive
from gateway_server.photo_store import PhotoFolder
from gateway_server.retention import Retention, Swept
from gateway_server.settings import Settings


def add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="delete it, and count it")
    run.add_argument("--dry-run", action="store_true", help="count only")
    run.set_defaults(run=_run)


def _run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    kept = Settings.read_retention(environment)

    async def sweep(database: Database) -> int:
        folder = PhotoFolder(kept.photo_dir)
        folder.prepare()
        archive = PhotoArchive(database, folder)
        one_time = OneTimeRequests(database, 0, AnswersKept.by(kept))
        retention = Retention(database, archive, folder, one_time, kept.retention_days)
        report(await (retention.preview() if asked.dry_run else retention.run()))
        return 0

    return with_database(environment, sweep)


def report(swept: Swept) -> None:
    for one in fields(swept):
        if one.name != "missing":
            print(f"{one.name}: {getattr(swept, one.name)}")
    for sha256 in swept.missing:
        print(f"missing: the photo {sha256} has a row and no file")
