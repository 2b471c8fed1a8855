"""An import from its acceptance to its end: the queue's handler, and the way of a folder.

An upload is a job that takes one turn for each batch. Its next turn comes after what it has queued,
so the enrolments of an import are never more than a few ahead, and searches get theirs between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append
from gateway_server.database import Database
from gateway_server.imports.arrival import ArrivedImport
from gateway_server.imports.import_folder import ImportFolder
from gateway_server.imports.importer import Importer
from gateway_server.imports.ledger import ImportLedger, is_under_way, lock_run
from gateway_server.imports.sources import ArchiveSource, FolderSource, Source
from gateway_server.imports.staging import Staging
from gateway_server.imports.table import count_records
from gateway_server.jobs import Claim, JobQueue
from gateway_server.one_time import Made
from gateway_server.problems import (
    ImportConflict,
    ImportNotFound,
    Outage,
    Problem,
    Refusal,
)
from gateway_server.schemas import ImportOut
from gateway_server.tables import ImportRun, Job, new_id, now

LOOK_EVERY_S: Final = 0.1
AHEAD: Final = 40
"""Enrolments that are due, before a folder's next rows are read."""


@dataclass(frozen=True)
class ImportLimits:
    max_rows: int
    max_photo_bytes: int


@dataclass(frozen=True)
class FolderOrder:
    """`table`: None for a folder for each person."""

    folder: Path
    table: Path | None


class ImportService:
    def __init__(
        self,
        database: Database,
        files: ImportFolder,
        importer: Importer,
        queue: JobQueue,
        limits: ImportLimits,
        held_up_s: Callable[[], float],
    ) -> None:
        """`held_up_s`: how long nothing makes sense, because the inference tier is away."""
        self._database = database
        self._files = files
        self._importer = importer
        self._staging = Staging(database, queue)
        self._ledger = ImportLedger(database)
        self._queue = queue
        self._limits = limits
        self._held_up_s = held_up_s

    @property
    def ledger(self) -> ImportLedger:
        return self._ledger

    async def accept(self, arrived: ArrivedImport, made: Made) -> ImportOut:
        """Files, run and job are durable when this returns.

        Raises InvalidTable, TooManyRows, BrokenArchive and TooManyEntries.
        """
        total = await asyncio.to_thread(self._examine, arrived)
        await self._files.keep(made.subject_id, arrived.table, arrived.archive)
        async with self._database.write() as session:
            if await session.get(ImportRun, made.subject_id) is None:
                key_id = made.caller.key_id
                session.add(ImportRun(id=made.subject_id, key_id=key_id, total=total))
                await self._queue.add(session, "import", made.subject_id, held=False)
                await append(session, "import", subject_id=made.subject_id)
        return await self._ledger.get(made.subject_id)

    def _examine(self, arrived: ArrivedImport) -> int:
        """The number of the table's rows, when table and archive can be read as a whole."""
        source = self._archive_source(arrived.table.path, arrived.archive.path)
        source.entries()
        return count_records(arrived.table.path, self._limits.max_rows)

    async def run(self, claim: Claim) -> None:
        """One turn."""
        run = await self._read(claim.subject_id)
        if run is None or run.finished_at is not None:
            await self._end(claim.subject_id, claim, None)
            return
        try:
            is_over = await self._take_turn(run, claim)
        except Refusal as refusal:
            await self._end(run.id, claim, refusal)
            raise
        if is_over:
            await self._end(run.id, claim, None)
        else:
            await self._queue.give_back(claim)

    async def miss(
        self,
        session: AsyncSession,
        claim: Claim,
        outage: Outage,
        next_attempt_at: datetime | None,
    ) -> None:
        run = await lock_run(session, claim.subject_id)
        if run is not None and next_attempt_at is None:
            run.finished_at, run.problem = now(), outage.summary()

    async def begin_folder(self, order: FolderOrder, *, resume: bool, anew: bool) -> ImportRun:
        """A new run of the folder, or its unfinished one. Raises ImportConflict."""
        folder, table = str(order.folder), str(order.table) if order.table else None
        of_folder = select(ImportRun).where(
            ImportRun.folder == folder, ImportRun.finished_at.is_(None)
        )
        async with self._database.write() as session:
            newest = of_folder.order_by(ImportRun.created_at.desc()).with_for_update(key_share=True)
            unfinished = (await session.scalars(newest)).first()
            if resume and unfinished is not None:
                return unfinished
            if resume:
                raise ImportNotFound("No import of this folder was broken off")
            if unfinished is not None and not anew:
                raise ImportConflict("An import of this folder was broken off: --resume, or --anew")
            if unfinished is not None:
                unfinished.finished_at = now()
                unfinished.problem = ImportConflict("Begun anew").summary()
            run = ImportRun(id=new_id(), folder=folder, table_file=table)
            session.add(run)
            await append(session, "import", subject_id=run.id)
        return run

    async def work_off(self, run: ImportRun) -> None:
        """A folder's run to its end, and to that of every face of it that has a job.

        Raises InvalidTable and TooManyRows, which end it.
        """
        try:
            await _until(lambda: self._is_over(run))
        except Refusal as refusal:
            await self._end(run.id, None, refusal)
            raise
        await self._end(run.id, None, None)
        await _until(lambda: self._has_settled(run.id))

    async def sweep(self) -> int:
        """Files of no unfinished import; how many."""
        return await self._files.sweep(self._is_unfinished)

    async def _is_over(self, run: ImportRun) -> bool:
        """False: not yet, because enough is waiting, or the inference tier is away."""
        while self._held_up_s() <= 0 and await self._count_due() < AHEAD:
            if await self._take_turn(run, None):
                return True
        return False

    async def _take_turn(self, run: ImportRun, claim: Claim | None) -> bool:
        """Whether it was the last one."""
        source = self._source(run)
        if run.staged_at is None:
            await self._staging.stage(run, source, claim)
            run.staged_at = now()
            return False
        return await self._importer.step(run, source, claim) == 0

    def _source(self, run: ImportRun) -> Source:
        if run.folder is None:
            return self._archive_source(self._files.table(run.id), self._files.archive(run.id))
        table = Path(run.table_file) if run.table_file else None
        return FolderSource(Path(run.folder), table, self._limits.max_rows)

    def _archive_source(self, table: Path, archive: Path) -> ArchiveSource:
        return ArchiveSource(table, archive, self._limits.max_rows, self._limits.max_photo_bytes)

    async def _end(self, run_id: str, claim: Claim | None, problem: Problem | None) -> None:
        async with self._database.write() as session:
            run = await lock_run(session, run_id)
            if run is not None and run.finished_at is None:
                run.finished_at, run.problem = now(), problem.summary() if problem else None
            if claim is not None:
                await self._queue.finish(session, claim)
        await self._files.discard(run_id)
        await self.sweep()  # one that was given up has left its files

    async def _read(self, run_id: str) -> ImportRun | None:
        async with self._database.read() as session:
            return await session.get(ImportRun, run_id)

    async def _is_unfinished(self, run_id: str) -> bool:
        run = await self._read(run_id)
        return run is not None and run.finished_at is None

    async def _has_settled(self, run_id: str) -> bool:
        async with self._database.read() as session:
            return not await is_under_way(session, run_id)

    async def _count_due(self) -> int:
        due = select(func.count()).select_from(Job)
        due = due.where(Job.kind == "enrolment", Job.run_at <= now())
        async with self._database.read() as session:
            return await session.scalar(due) or 0


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await is_so():
            return
        await asyncio.sleep(LOOK_EVERY_S)
