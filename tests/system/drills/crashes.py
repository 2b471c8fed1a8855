"""Killed processes: every photo that was acknowledged gets its answer, once."""

import random
import time
from pathlib import Path

from tests.system.drills.estate import Estate, Stores, estate
from tests.system.drills.fleet import Ended, Fleet
from tests.system.drills.size import Size

SETTLE_WITHIN_S = 60.0


def inference_killed(folder: Path, size: Size) -> str:
    """Kill -9 of the inference server in the middle; back after a pause."""
    with estate(folder) as house:
        fleet = Fleet(house, size.phones, size.uploads)

        def kill(running: Fleet) -> None:
            running.wait_for(size.uploads // 4)
            house.inference.kill()
            time.sleep(size.outage_s)
            house.restart_inference()

        ended = fleet.run(kill)
        _check_all_done(house, ended, size.uploads)
        return _told(ended, f"inference killed for {size.outage_s:g} s")


def gateway_killed(folder: Path, size: Size, stores: Stores | None = None) -> str:
    """Kill -9 of the only gateway, at random moments, started again at once."""
    with estate(folder, stores) as house:
        fleet = Fleet(house, size.phones, size.uploads)
        dice, kills = random.Random(4), 0

        def kill(running: Fleet) -> None:
            nonlocal kills
            for kills in range(1, size.kills + 1):
                running.wait_for(kills * size.uploads // (size.kills + 1))
                time.sleep(dice.uniform(0, 0.3))
                house.gateways[0].server.kill()
                house.gateways[0].start()
                house.gateways[0].server.wait_until_ready()

        ended = fleet.run(kill)
        _check_all_done(house, ended, size.uploads)
        return _told(ended, f"gateway killed {kills} times")


def one_of_two_gateways_killed(folder: Path, size: Size, stores: Stores) -> str:
    """Two gateways on one PostgreSQL and Redis; now one dies, now the other."""
    with estate(folder, stores, gateways=2) as house:
        fleet = Fleet(house, size.phones, size.uploads)
        dice = random.Random(5)

        def kill(running: Fleet) -> None:
            for number in range(1, size.kills + 1):
                running.wait_for(number * size.uploads // (size.kills + 1))
                time.sleep(dice.uniform(0, 0.3))
                victim = house.gateways[number % 2]
                victim.server.kill()
                victim.start()
                victim.server.wait_until_ready()

        ended = fleet.run(kill)
        _check_all_done(house, ended, size.uploads)
        return _told(ended, f"{size.kills} kills, two gateways")


def _check_all_done(house: Estate, ended: Ended, uploads: int) -> None:
    assert not ended.failed, dict(ended.failed)
    assert len(ended.done) == uploads, f"{len(ended.done)} of {uploads} done"
    assert len(set(ended.done.values())) == uploads, "two uploads share a search"
    assert ended.seen[500] == 0, "a phone has seen a 500"
    statuses = dict(house.rows("SELECT status, count(*) FROM search GROUP BY status"))
    assert statuses == {"done": uploads}, f"rows of searches: {statuses}"
    (jobs,) = house.rows("SELECT count(*) FROM job")
    assert jobs[0] == 0, f"{jobs[0]} jobs are stuck"
    (open_failures,) = house.rows("SELECT count(*) FROM failure WHERE resolved_at IS NULL")
    assert open_failures[0] == 0, f"{open_failures[0]} failures are open"
    rows = sorted(row[0] for row in house.rows("SELECT sha256 FROM photo"))
    assert rows == list(house.stored_photos()), "photo rows and files differ"
    _check_no_half_photos(house)


def _check_no_half_photos(house: Estate) -> None:
    """What a killed gateway left is swept when the next one starts; nothing is newer than that."""
    for gateway in house.gateways:
        gateway.server.stop()
        gateway.start()
        gateway.server.wait_until_ready()
    assert not house.half_photos(), f"{len(house.half_photos())} half-written files"


def _told(ended: Ended, what: str) -> str:
    seen = ", ".join(f"{count} x {status or 'no answer'}" for status, count in ended.seen.items())
    return (
        f"{len(ended.done)} uploads done, 0 lost, 0 doubled, 0 x 500 ({what}; "
        f"{ended.seconds:.0f} s; tried again after: {seen or 'nothing'})"
    )
