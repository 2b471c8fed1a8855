"""Work that costs little more for many than for one: whoever comes during a round shares the next.

A round begins after everyone in it has come, so each gets what holds from then on: no answer is
older than its question. Whoever comes alone does not wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from typing import Generic, NamedTuple, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class _Waiting(NamedTuple, Generic[Q, A]):
    question: Q
    answered: asyncio.Future[A]
    context: Context


class Rounds(Generic[Q, A]):
    def __init__(self, work: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int) -> None:
        """`work` answers at most `most` questions, one for one; what it raises, all of them get."""
        self._work = work
        self._most = most
        self._waiting: list[_Waiting[Q, A]] = []
        self._round: asyncio.Task[None] | None = None

    async def join(self, question: Q) -> A:
        answered: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(question, answered, copy_context()))
        if self._round is None:
            self._begin()
        return await answered

    def _begin(self) -> None:
        """The round is nobody's own, whoever hangs up; it speaks under its first one's id."""
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._round = asyncio.create_task(self._hold(batch), context=batch[0].context)

    async def _hold(self, batch: Sequence[_Waiting[Q, A]]) -> None:
        try:
            questions = [one.question for one in batch]
            (found,) = await asyncio.gather(self._work(questions), return_exceptions=True)
            _tell(batch, found)
        finally:
            self._round = None
            if self._waiting:
                self._begin()


def _tell(batch: Sequence[_Waiting[Q, A]], found: Sequence[A] | BaseException) -> None:
    for place, waiting in enumerate(batch):
        if waiting.answered.done():  # cancelled
            continue
        if isinstance(found, BaseException):
            waiting.answered.set_exception(found)
        else:
            waiting.answered.set_result(found[place])
