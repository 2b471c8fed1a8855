"""`gateway-server stats`: how much was asked, how fast it was done, and where true leads lie."""

import argparse
import json
from collections.abc import Iterator, Mapping

from gateway_server.analysis.figures import BANDS, JUDGEMENTS, Figures, gather
from gateway_server.analysis.history import History
from gateway_server.analysis.period import add_period, read_period
from gateway_server.commands import with_database
from gateway_server.database import Database
from gateway_server.jobs import JobQueue

ANY_LEASE_S = 86_400.0  # the queue is only looked at


def add_commands(parser: argparse.ArgumentParser) -> None:
    add_period(parser, required=False)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=_run)


def _run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    period = read_period(asked)

    async def tell(database: Database) -> int:
        queue = JobQueue(database, lease_s=ANY_LEASE_S, longest_wait_s=0)
        figures = await gather(History(database, period), queue)
        print(json.dumps(figures.as_json()) if asked.json else "\n".join(lines_of(figures)))
        return 0

    return with_database(environment, tell)


def lines_of(figures: Figures) -> Iterator[str]:
    yield "searches by day (UTC)"
    yield from _counted(dict(sorted(figures.days.items())))
    yield "searches by status"
    yield from _counted(figures.statuses)
    if figures.refusals:
        yield "failed searches by reason"
        yield from _counted(dict(figures.refusals.most_common()))
    rate = figures.cache_hit_rate
    yield f"answered by the cache: {'-' if rate is None else f'{rate:.1%}'}"
    yield "verdicts by similarity" + "".join(f"{one:>12}" for one in JUDGEMENTS)
    for at in reversed(range(BANDS)):
        counts = "".join(f"{figures.bands[at][one]:>12}" for one in JUDGEMENTS)
        yield f"  {at / BANDS:.1f} to {(at + 1) / BANDS:.1f}{'':10}{counts}"
    yield f"failures by reason ({figures.open_failures} open)"
    yield from _counted(dict(figures.failures.most_common()))
    depth = figures.depth
    yield f"queue: {depth.waiting} waiting, the oldest that is due for {depth.oldest_s:.0f} s"
    yield f"timings in ms{'':9}{'median':>12}{'95 %':>12}"
    for stage, spread in figures.spreads().items():
        yield f"  {stage:20}{spread.median:>12.1f}{spread.p95:>12.1f}"


def _counted(counts: Mapping[str, int]) -> Iterator[str]:
    yield from (f"  {name:40}{count:>8}" for name, count in counts.items())
