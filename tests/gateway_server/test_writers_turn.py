"""Writers of one SQLite file queue up, over all processes; none holds the others up for good."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from gateway_server.writers_turn import WritersTurn

LONG_S = 30.0
SHORT_S = 0.05


@asynccontextmanager
async def turn_of(database: Path | None, within_s: float = LONG_S) -> AsyncIterator[WritersTurn]:
    turn = WritersTurn(database, within_s)
    try:
        yield turn
    finally:
        turn.close()


async def _take(turn: WritersTurn, name: str, order: list[str]) -> None:
    async with turn.taken():
        order.append(name)


@pytest.mark.parametrize("is_file", [True, False])
async def test_those_who_wait_come_in_order(tmp_path: Path, *, is_file: bool) -> None:
    order: list[str] = []
    async with turn_of(tmp_path / "gateway.db" if is_file else None) as turn:
        async with turn.taken():
            waiting = []
            for name in "abc":
                waiting.append(asyncio.create_task(_take(turn, name, order)))
                await asyncio.sleep(0)
            assert order == []
        await asyncio.gather(*waiting)
    assert order == ["a", "b", "c"]


async def test_another_writer_of_the_file_waits(tmp_path: Path) -> None:
    """Two that know nothing of each other, as two processes do not."""
    database, order = tmp_path / "gateway.db", list[str]()
    async with turn_of(database) as one, turn_of(database) as other:
        async with one.taken():
            waiting = asyncio.create_task(_take(other, "other", order))
            done, _ = await asyncio.wait({waiting}, timeout=SHORT_S)
            assert not done
        await waiting
    assert order == ["other"]


async def test_whoever_gives_up_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    async with turn_of(database) as one, turn_of(database, SHORT_S) as other:
        async with one.taken():
            with pytest.raises(TimeoutError):
                await _take(other, "other", [])
        order: list[str] = []
        await _take(one, "one", order)
        await _take(other, "other", order)
    assert order == ["one", "other"]


async def test_what_fails_in_its_turn_gives_it_back(tmp_path: Path) -> None:
    async with turn_of(tmp_path / "gateway.db", SHORT_S) as turn:
        with pytest.raises(ValueError, match="mine"):
            async with turn.taken():
                raise ValueError("mine")
        await _take(turn, "next", [])


def _hold_for_ever(database: Path, holds: Event) -> None:
    async def hold() -> None:
        async with turn_of(database) as turn, turn.taken():
            holds.set()
            await asyncio.Event().wait()

    asyncio.run(hold())


async def test_the_turn_of_a_killed_process_is_free(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    spawn = multiprocessing.get_context("spawn")
    holds = spawn.Event()
    process = spawn.Process(target=_hold_for_ever, args=(database, holds))
    process.start()
    assert await asyncio.to_thread(holds.wait, LONG_S)
    order: list[str] = []
    async with turn_of(database) as turn:
        waiting = asyncio.create_task(_take(turn, "next", order))
        done, _ = await asyncio.wait({waiting}, timeout=SHORT_S)
        assert not done
        process.kill()
        await waiting
    await asyncio.to_thread(process.join)
    assert order == ["next"]


async def test_where_its_file_cannot_be_used_only_one_process_queues_up(tmp_path: Path) -> None:
    """What guards the database is SQLite's own lock, and that is still there."""
    (tmp_path / "gateway.db-turn").mkdir()
    order: list[str] = []
    async with turn_of(tmp_path / "gateway.db") as turn:
        async with turn.taken():
            waiting = asyncio.create_task(_take(turn, "next", order))
            await asyncio.sleep(0)
            assert order == []
        await waiting
    assert order == ["next"]


async def _use_once(database: Path) -> None:
    async with turn_of(database) as turn:
        await _take(turn, "one", [])


def test_its_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    asyncio.run(_use_once(tmp_path / "gateway.db"))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
