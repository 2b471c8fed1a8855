"""`gateway-server serve | import | export | stats | reenrol | settings | keys | audit …`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

from gateway_server import audit_commands, key_commands, retention_commands
from gateway_server.analysis import export, stats
from gateway_server.audit import append
from gateway_server.commands import with_database
from gateway_server.database import Database
from gateway_server.gateway import open_gateway
from gateway_server.imports import command as import_command
from gateway_server.manifest import write_manifest
from gateway_server.metrics import Metrics
from gateway_server.problems import Problem
from gateway_server.reenrolment import Reenrolment, Resent
from gateway_server.settings import Settings, SettingsError

FACES_PER_PROGRESS_LINE = 50
OTHERS_NOTHING = 0o077  # people, photos, keys: files for this user alone


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(OTHERS_NOTHING)
    asked = _parser().parse_args(arguments)
    try:
        return int(asked.run(asked, os.environ))
    except (SettingsError, Problem) as error:
        print(f"gateway-server: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gateway-server", description="Reunite's public door.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="answer requests until stopped")
    serve.set_defaults(run=_serve)
    reenrol = commands.add_parser("reenrol", help="fill the gallery again from the stored photos")
    reenrol.add_argument(
        "--all", action="store_true", help="go on after a photo that could not be sent"
    )
    reenrol.add_argument(
        "--manifest", type=Path, metavar="FILE", help="send nothing, list all for a bulk enrolment"
    )
    reenrol.set_defaults(run=_reenrol)
    settings = commands.add_parser("settings", help="list every environment variable")
    settings.set_defaults(run=_print_settings)
    for name, module, what in (
        ("import", import_command, "register the people of a folder, with their photos"),
        ("export", export, "write searches, verdicts and failures as tables"),
        ("stats", stats, "tell volumes, timings, verdicts and failures"),
        ("keys", key_commands, "create, rotate, list and revoke API keys"),
        ("audit", audit_commands, "verify and list who reached for whom"),
        ("retention", retention_commands, "delete what is kept no longer"),
    ):
        module.add_commands(commands.add_parser(name, help=what))
    return parser


def _serve(_asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    import uvicorn

    from gateway_server.protocol import ProblemProtocol

    settings = Settings.from_mapping(environment)
    uvicorn.run(
        "gateway_server.main:app",
        http=ProblemProtocol,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    return 0


def _reenrol(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if asked.manifest is not None:
        return _write_manifest(asked.manifest, environment)

    async def reenrol() -> int:
        settings = Settings.from_mapping(environment)
        async with open_gateway(settings, Metrics(), None) as gateway:
            return await report_reenrolment(gateway.reenrolment, to_the_end=asked.all)

    return asyncio.run(reenrol())


def _write_manifest(file: Path, environment: Mapping[str, str]) -> int:
    photo_dir = Settings.read_retention(environment).photo_dir

    async def write(database: Database) -> int:
        async with database.write() as session:
            await append(session, "export")
        faces = await write_manifest(database, photo_dir, file)
        print(f"{faces} faces: inference-server enrol {file}")
        return 0

    return with_database(environment, write)


async def report_reenrolment(reenrolment: Reenrolment, *, to_the_end: bool) -> int:
    """The exit status: 1 if something could not be sent. Starting again sends what is left."""
    total = await reenrolment.count_faces()
    sent, refused, unsent = 0, 0, 0
    async with aclosing(reenrolment.run()) as ended:
        async for one in ended:
            sent += one.problem is None
            unsent += one.is_unsent
            refused += one.problem is not None and not one.is_unsent
            _print_trouble(one)
            if (done := sent + refused + unsent) % FACES_PER_PROGRESS_LINE == 0:
                print(f"{done} of {total} faces", flush=True)
            if unsent and not to_the_end:
                print("gateway-server: stopped there; --all goes on", file=sys.stderr)
                break
    print(f"{total} faces: {sent} sent, {refused} refused, {unsent} could not be sent")
    return 1 if unsent else 0


def _print_trouble(one: Resent) -> None:
    if one.problem is not None:
        what = "could not be sent" if one.is_unsent else "refused"
        whose = f"person {one.person_id} face {one.face_id or '-'}"
        print(f"{what}: {whose}: {one.problem.slug}: {one.problem.detail}", flush=True)


def _print_settings(_asked: argparse.Namespace, _environment: Mapping[str, str]) -> int:
    for row in Settings.rows():
        print(f"{row.name}={row.default}  # {row.unit}: {row.help}")
    return 0
