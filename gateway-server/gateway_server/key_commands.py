"""`gateway-server keys …`: who may come in, for whoever sits at the gateway's host."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping

from gateway_server.auth import ROLES, Keyring, status_of
from gateway_server.commands import with_database
from gateway_server.database import Database
from gateway_server.schemas import MAX_GRACE_S, MAX_KEY_DAYS
from gateway_server.tables import ApiKey

MINUTES = "%Y-%m-%d %H:%M"


def add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key and show it, once")
    create.add_argument("--role", required=True, choices=ROLES)
    create.add_argument("--name", required=True, help="whose it is, for the list")
    create.add_argument("--expires-days", type=_days, metavar="DAYS", help="from now; or never")
    create.set_defaults(run=_create)
    rotate = commands.add_parser("rotate", help="give a key another secret and show it, once")
    rotate.add_argument("id")
    rotate.add_argument(
        "--grace-s",
        type=_grace,
        default=0,
        metavar="S",
        help="seconds for which the secret before stays good (0)",
    )
    rotate.add_argument("--expires-days", type=_days, metavar="DAYS", help="from now")
    rotate.set_defaults(run=_rotate)
    listing = commands.add_parser("list", help="every key: id, role, name, its life")
    listing.set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id")
    revoke.set_defaults(run=_revoke)


def _days(text: str) -> int:
    return _between(text, 1, MAX_KEY_DAYS)


def _grace(text: str) -> int:
    return _between(text, 0, MAX_GRACE_S)


def _between(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
    return int(text)


def _create(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def create(keyring: Keyring) -> int:
        print(await keyring.create(asked.name, asked.role, expires_days=asked.expires_days))
        return 0

    return _with_keyring(environment, create)


def _rotate(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def rotate(keyring: Keyring) -> int:
        life = {"grace_s": asked.grace_s, "expires_days": asked.expires_days}
        print(await keyring.rotate(asked.id, **life))
        return 0

    return _with_keyring(environment, rotate)


def _list(_asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def show(keyring: Keyring) -> int:
        for key in await keyring.list():
            print(_line(key))
        return 0

    return _with_keyring(environment, show)


def _line(key: ApiKey) -> str:
    ended = key.revoked_at or key.expires_at
    life = status_of(key) + (f" {ended:{MINUTES}}" if status_of(key) != "valid" and ended else "")
    until = f"until {key.expires_at:{MINUTES}}" if key.expires_at else "no end"
    used = f"used {key.last_used_at:{MINUTES}}" if key.last_used_at else "never used"
    made = f"{key.created_at:{MINUTES}}"
    return "  ".join((key.id, f"{key.role:8}", made, life, until, used, key.name))


def _revoke(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def revoke(keyring: Keyring) -> int:
        if await keyring.revoke(asked.id):
            return 0
        print(f"gateway-server: no valid key has the id {asked.id}", file=sys.stderr)
        return 1

    return _with_keyring(environment, revoke)


def _with_keyring(environment: Mapping[str, str], work: Callable[[Keyring], Awaitable[int]]) -> int:
    async def on_database(database: Database) -> int:
        return await work(Keyring(database))

    return with_database(environment, on_database)
