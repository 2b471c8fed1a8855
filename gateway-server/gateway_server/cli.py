"""`gateway-server serve | reenrol | keys create | keys list | keys revoke | settings`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from gateway_server.auth import ROLES, Keyring
from gateway_server.database import Database
from gateway_server.gateway import open_gateway
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
    reenrol.set_defaults(run=_reenrol)
    settings = commands.add_parser("settings", help="list every environment variable")
    settings.set_defaults(run=_print_settings)
    _add_key_commands(commands.add_parser("keys", help="create, list and revoke API keys"))
    return parser


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key and show it, once")
    create.add_argument("--role", required=True, choices=ROLES)
    create.add_argument("--name", required=True, help="whose it is, for the list")
    create.set_defaults(run=_create_key)
    listing = commands.add_parser("list", help="every key: id, role, name, made, revoked")
    listing.set_defaults(run=_list_keys)
    revoke = commands.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id")
    revoke.set_defaults(run=_revoke_key)


def _serve(_asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    import uvicorn

    settings = Settings.from_mapping(environment)
    uvicorn.run(
        "gateway_server.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    return 0


def _reenrol(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def reenrol() -> int:
        settings = Settings.from_mapping(environment)
        async with open_gateway(settings, Metrics(), None) as gateway:
            return await report_reenrolment(gateway.reenrolment, to_the_end=asked.all)

    return asyncio.run(reenrol())


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


def _create_key(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def create(keyring: Keyring) -> int:
        print(await keyring.create(asked.name, asked.role))
        return 0

    return asyncio.run(_with_keyring(environment, create))


def _list_keys(_asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def show(keyring: Keyring) -> int:
        for key in await keyring.list():
            revoked = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "valid"
            print(f"{key.id}  {key.role:8}  {key.created_at:%Y-%m-%d %H:%M}  {revoked}  {key.name}")
        return 0

    return asyncio.run(_with_keyring(environment, show))


def _revoke_key(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def revoke(keyring: Keyring) -> int:
        if await keyring.revoke(asked.id):
            return 0
        print(f"gateway-server: no valid key has the id {asked.id}", file=sys.stderr)
        return 1

    return asyncio.run(_with_keyring(environment, revoke))


async def _with_keyring(
    environment: Mapping[str, str], work: Callable[[Keyring], Awaitable[int]]
) -> int:
    database = Database(Settings.read_database_url(environment))
    try:
        await database.prepare()
        return await work(Keyring(database))
    finally:
        await database.close()
