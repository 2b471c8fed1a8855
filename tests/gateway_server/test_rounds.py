"""Rounds: whoever comes during one shares the next, and no answer is older than its question."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway_server.journal import current_request_id, in_request
from gateway_server.rounds import Rounds


class Work:
    """Doubles numbers, when it is allowed to."""

    def __init__(self) -> None:
        self.batches: list[Sequence[int]] = []
        self.spoke_as: list[str] = []
        self.may_go_on = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int]:
        self.batches.append(numbers)
        self.spoke_as.append(current_request_id())
        await self.may_go_on.wait()
        return [2 * number for number in numbers]


async def ask(rounds: Rounds[int, int], *numbers: int) -> list["asyncio.Task[int]"]:
    asked = [asyncio.create_task(rounds.join(number)) for number in numbers]
    await asyncio.sleep(0.01)
    return asked


async def test_who_comes_during_a_round_shares_the_next_and_each_gets_its_own_answer():
    work = Work()
    rounds = Rounds(work, most=10)

    asked = [*await ask(rounds, 1), *await ask(rounds, 2, 3, 4)]
    work.may_go_on.set()

    assert await asyncio.gather(*asked) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3, 4]]
    assert await rounds.join(5) == 10


async def test_a_round_is_no_larger_than_was_said():
    work = Work()
    rounds = Rounds(work, most=2)

    asked = await ask(rounds, 1, 2, 3, 4)
    work.may_go_on.set()

    assert await asyncio.gather(*asked) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3], [4]]


async def test_whoever_leaves_holds_up_nobody_and_their_question_is_still_worked_on():
    work = Work()
    rounds = Rounds(work, most=10)
    first, second, third = [*await ask(rounds, 1), *await ask(rounds, 2, 3)]

    first.cancel()
    second.cancel()
    work.may_go_on.set()

    assert await third == 6
    assert work.batches == [[1], [2, 3]]


async def test_what_a_round_raises_all_of_it_get_and_the_next_goes_on():
    failing = [True, False]

    async def work(numbers: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.01)
        if failing.pop(0):
            raise KeyError
        return numbers

    rounds = Rounds(work, most=10)
    first = asyncio.create_task(rounds.join(1))
    await asyncio.sleep(0)
    others = [asyncio.create_task(rounds.join(number)) for number in (2, 3)]

    with pytest.raises(KeyError):
        await first
    assert await asyncio.gather(*others) == [2, 3]


async def test_a_round_speaks_under_its_first_ones_request_id():
    work = Work()
    rounds = Rounds(work, most=10)
    asked = []
    for name in ("a", "b", "c"):
        with in_request(name):
            asked += await ask(rounds, 1)
    work.may_go_on.set()
    await asyncio.gather(*asked)

    assert work.spoke_as == ["a", "b"]
