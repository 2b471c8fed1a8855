"""`gateway-server audit …`: whether the rows are as they were written, and what they say."""

import argparse
import re
from collections.abc import Mapping

from gateway_server.audit import AuditLog, Wanted
from gateway_server.audit_chain import verify
from gateway_server.commands import with_database
from gateway_server.database import Database
from gateway_server.tables import Audit
from gateway_server.texts import parse_moment

ROWS = 50
ROWS_AT_A_TIME = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


def add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verifying = commands.add_parser("verify", help="check the chain; 1 if a row is not as written")
    verifying.add_argument(
        "--head", type=_sha256, metavar="SHA256", help="noted earlier: must still be in the chain"
    )
    verifying.set_defaults(run=_verify)
    listing = commands.add_parser("list", help="who reached for whom, newest first")
    for name, what in (("person", "person"), ("search", "search"), ("key", "API key")):
        listing.add_argument(f"--{name}", metavar="ID", help=f"of one {what}")
    listing.add_argument("--since", metavar="MOMENT", help="in ISO 8601, UTC")
    listing.add_argument("--limit", type=int, default=ROWS, metavar="ROWS", help=f"({ROWS})")
    listing.set_defaults(run=_list)


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 64 hexadecimal digits")
    return text


def _verify(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def check(database: Database) -> int:
        found = await verify(database, asked.head)
        print(f"{found.rows} rows in order, head {found.head}")
        if found.fault is not None:
            print(f"not in order: {found.fault}")
        return 0 if found.fault is None else 1

    return with_database(environment, check)


def _list(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async def show(database: Database) -> int:
        log, cursor, left = AuditLog(database), None, asked.limit
        while left > 0:
            page = await log.list(wanted, cursor, min(left, ROWS_AT_A_TIME))
            for row in page.rows:
                print(_line(row))
            left, cursor = left - len(page.rows), page.next_cursor
            if cursor is None:
                break
        return 0

    wanted = Wanted(asked.person, asked.search, asked.key, parse_moment("since", asked.since))
    return with_database(environment, show)


def _line(row: Audit) -> str:
    said = [
        f"{row.seq:>6}  {row.at:%Y-%m-%d %H:%M:%S}",
        f"{row.key_id or '-':12}",
        f"{row.role:8}",
        f"{row.action:10}",
        row.outcome + (f" {row.reason}" if row.reason else ""),
    ]
    names = ("person_id", "search_id", "subject_id", "photo_sha256", "purpose", "request_id")
    about = [f"{name.removesuffix('_id')} {getattr(row, name)}" for name in names]
    return "  ".join([*said, *(one for one in about if not one.endswith(" None"))])
