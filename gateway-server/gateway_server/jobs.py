"""Work that must come to its end whatever dies meanwhile: a durable queue of rows.

Whoever claims a job holds it under a lease that it renews; when the holder is killed, the lease
runs out and another claims the job. Every claim has a name of its own, and a job is finished only
by the claim that holds it: one that lost its lease to a stopped clock changes nothing any more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CursorResult, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database, on_postgresql
from gateway_server.journal import current_request_id
from gateway_server.tables import Job, JobKind, new_id, now


class LeaseLost(Exception):
    """Somebody else holds the job by now, or it is done: what was found is not recorded."""


@dataclass(frozen=True)
class Claim:
    job_id: str
    kind: JobKind
    subject_id: str
    request_id: str
    attempts: int  # before this one
    holder: str


@dataclass(frozen=True)
class Depth:
    waiting: int
    oldest_s: float


class JobQueue:
    def __init__(self, database: Database, lease_s: float, longest_wait_s: float) -> None:
        """`longest_wait_s`: no job is ever put off further than this."""
        self._database = database
        self._lease = timedelta(seconds=lease_s)
        self._longest_wait = timedelta(seconds=longest_wait_s)

    async def add(
        self,
        session: AsyncSession,
        kind: JobKind,
        subject_id: str,
        *,
        held: bool,
        not_before: datetime | None = None,
    ) -> Claim:
        """Within the caller's transaction; a job that this subject has already starts anew.

        A holder of the older one loses it, for what it knows of the subject is out of date; the
        new turn begins when the old lease is over, so that the two never meet at the other tier.
        `held`: the claim is the caller's own, to begin at once.
        """
        job = await _locked(session, kind, subject_id)
        busy_until = job.leased_until if _is_leased(job) else None
        job.request_id, job.attempts = current_request_id(), 0
        job.run_at = max(one for one in (busy_until, not_before, now()) if one is not None)
        job.holder, job.leased_until = None, None
        if held and busy_until is None:
            job.holder, job.leased_until = new_id(), now() + self._lease
        await session.flush()
        return _claim(job)

    async def hurry(
        self, session: AsyncSession, kind: JobKind, subject_id: str, *, held: bool
    ) -> Claim:
        """As `add`, but whoever is at it at the moment is left in peace."""
        job = await _locked(session, kind, subject_id)
        if _is_leased(job):
            return replace(_claim(job), holder="")
        return await self.add(session, kind, subject_id, held=held)

    async def cancel(
        self, session: AsyncSession, kind: JobKind, subject_ids: Collection[str]
    ) -> datetime | None:
        """Within the caller's transaction; until when one of them may still be under way."""
        theirs = delete(Job).where(Job.kind == kind, Job.subject_id.in_(subject_ids))
        leases = (await session.scalars(theirs.returning(Job.leased_until))).all()
        return max((one for one in leases if one is not None and one > now()), default=None)

    async def claim(self, most: int) -> Sequence[Claim]:
        """The next jobs whose turn it is, for this caller alone."""
        if not await self._is_any_due():
            return []
        async with self._database.write() as session:
            due = select(Job).where(*self._due()).order_by(Job.run_at, Job.id).limit(most)
            jobs = (await session.scalars(due.with_for_update(skip_locked=True))).all()
            for job in jobs:
                job.holder, job.leased_until = new_id(), now() + self._lease
            return [_claim(job) for job in jobs]

    async def renew(self, claims: Collection[Claim]) -> None:
        if not claims:
            return
        held = select(Job.id).where(Job.holder.in_([claim.holder for claim in claims]))
        async with self._database.write() as session:
            idle = held.with_for_update(skip_locked=True)  # whoever has one locked is at its end
            ids = (await session.scalars(idle)).all()
            longer = {"leased_until": now() + self._lease}
            await session.execute(update(Job).where(Job.id.in_(ids)).values(longer))

    async def extend(self, session: AsyncSession, claim: Claim) -> None:
        """Within the transaction that records a part of the work; LeaseLost undoes it.

        What goes forward is not given up: its attempts are counted anew.
        """
        longer = {"leased_until": now() + self._lease, "attempts": 0}
        _check_held(await session.execute(update(Job).where(*_held_by(claim)).values(longer)))

    async def finish(self, session: AsyncSession, claim: Claim) -> None:
        """Within the transaction that records how the work ended; LeaseLost undoes it."""
        _check_held(await session.execute(delete(Job).where(*_held_by(claim))))

    async def postpone(
        self, session: AsyncSession, claim: Claim, run_at: datetime, *, counted: bool = True
    ) -> None:
        """Within the transaction that records why; `counted` among the attempts that it gets."""
        later = {"run_at": run_at, "attempts": claim.attempts + counted}
        await self._let_go(session, claim, **later)

    async def give_back(self, claim: Claim, run_at: datetime | None = None) -> None:
        """Undone, and not an attempt: the next may take it at once, or at `run_at`."""
        async with self._database.write() as session:
            await self._let_go(session, claim, run_at=run_at or now())

    async def depth(self) -> Depth:
        """Jobs that nobody holds, and for how long the oldest that is due has waited."""
        async with self._database.read() as session:
            unheld = self._unheld()
            count = await session.scalar(select(func.count()).select_from(Job).where(*unheld))
            oldest = await session.scalar(select(func.min(Job.run_at)).where(*unheld))
        waited_s = 0.0 if oldest is None else (now() - oldest).total_seconds()
        return Depth(count or 0, max(0.0, waited_s))

    async def _is_any_due(self) -> bool:
        async with self._database.read() as session:
            return await session.scalar(select(Job.id).where(*self._due()).limit(1)) is not None

    def _due(self) -> Sequence[ColumnElement[bool]]:
        """A turn beyond all waiting, like a lease beyond all leases, comes of a clock set back."""
        its_turn = or_(Job.run_at <= now(), Job.run_at > now() + 2 * self._longest_wait)
        return [its_turn, *self._unheld()]

    def _unheld(self) -> Sequence[ColumnElement[bool]]:
        return [
            or_(
                Job.leased_until.is_(None),
                Job.leased_until < now(),
                Job.leased_until > now() + 2 * self._lease,
            )
        ]

    async def _let_go(self, session: AsyncSession, claim: Claim, **values: object) -> None:
        free = {"holder": None, "leased_until": None, **values}
        _check_held(await session.execute(update(Job).where(*_held_by(claim)).values(free)))


def _claim(job: Job) -> Claim:
    return Claim(job.id, job.kind, job.subject_id, job.request_id, job.attempts, job.holder or "")


async def _locked(session: AsyncSession, kind: JobKind, subject_id: str) -> Job:
    """The subject's job, made if there is none: two who come at once meet over one row.

    An update, even to the same, takes the lock; what another ends meanwhile is made anew.
    """
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    made = {
        "id": new_id(),
        "kind": kind,
        "subject_id": subject_id,
        "request_id": current_request_id(),
        "created_at": now(),
        "run_at": now(),
        "attempts": 0,
    }
    unless_there = insert(Job).values(made)
    await session.execute(
        unless_there.on_conflict_do_update(
            index_elements=["kind", "subject_id"], set_={"kind": kind}
        )
    )
    of_subject = select(Job).where(Job.kind == kind, Job.subject_id == subject_id)
    return (await session.scalars(of_subject)).one()


def _is_leased(job: Job) -> bool:
    return job.leased_until is not None and job.leased_until > now()


def _held_by(claim: Claim) -> Sequence[ColumnElement[bool]]:
    return [Job.id == claim.job_id, Job.holder == claim.holder]


def _check_held(changed: object) -> None:
    if isinstance(changed, CursorResult) and changed.rowcount == 0:
        raise LeaseLost
