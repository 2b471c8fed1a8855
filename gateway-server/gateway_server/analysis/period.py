"""A span of time that is asked about."""

import argparse
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement

from gateway_server.tables import Failure, Search
from gateway_server.texts import parse_moment


@dataclass(frozen=True)
class Period:
    """`since` belongs to it, `until` does not; None: no bound there."""

    since: datetime | None
    until: datetime | None

    def holds(self, kind: type[Search] | type[Failure]) -> list[ColumnElement[bool]]:
        first = [kind.created_at >= self.since] if self.since else []
        return [*first, *([kind.created_at < self.until] if self.until else [])]


def add_period(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--since", required=required, help="a day, or a moment in ISO 8601; UTC")
    parser.add_argument("--until", help="up to there, without it")


def read_period(asked: argparse.Namespace) -> Period:
    """Raises InvalidDate."""
    return Period(parse_moment("since", asked.since), parse_moment("until", asked.until))
