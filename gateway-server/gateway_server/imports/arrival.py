"""An import's form on its way in: a table and an archive, each to a file of its own as it comes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from gateway_server.imports.import_folder import ImportFolder
from gateway_server.multipart import MultipartReader, PartBegins, PartContinues, PartEnds
from gateway_server.photo_store import Spool
from gateway_server.problems import (
    ImportPartMissing,
    ImportTooLarge,
    RepeatedField,
    UnknownField,
    UploadTooSlow,
)

PARTS = ("table", "archive")
FORM_OVERHEAD_BYTES = 64 * 1024
PIECE_WITHIN_S = 30.0
"""Gigabytes take their time; a sender that has fallen silent does not come back."""
MAX_LENGTH_DIGITS = 18


@dataclass(frozen=True)
class ArrivedImport:
    """Both files on the disk, under no name yet."""

    table: Spool
    archive: Spool
    sha256s: Mapping[str, str]

    def said(self) -> list[str]:
        return [f"{name} {sha256}" for name, sha256 in sorted(self.sha256s.items())]


class ImportIntake:
    def __init__(self, folder: ImportFolder, max_bytes: int) -> None:
        """`max_bytes`: of both files together."""
        self._folder = folder
        self._max_bytes = max_bytes

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[ArrivedImport]:
        """Both files, synced to the disk, for as long as the block lasts. Raises FormRefused."""
        arrival = _Arrival(self._folder, self._max_bytes)
        try:
            arrival.expect(request.headers.get("content-length"))
            reader = MultipartReader(request.headers.get("content-type"))
            async for piece in _in_time(request):
                arrival.take(reader, piece)
            reader.finish()
            yield await arrival.form()
        finally:
            arrival.discard()


async def _in_time(request: Request) -> AsyncIterator[bytes]:
    pieces = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(PIECE_WITHIN_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadTooSlow(f"Nothing arrived for {PIECE_WITHIN_S:g} s") from error
        yield piece


class _Arrival:
    def __init__(self, folder: ImportFolder, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes + FORM_OVERHEAD_BYTES
        self._spools: dict[str, Spool] = {}
        self._part: Spool | None = None

    def expect(self, content_length: str | None) -> None:
        """Refuse a body that says itself that it is too large, before any of it is read."""
        if content_length is not None and content_length.isdecimal():
            self._refuse_more_than_left(int(content_length[:MAX_LENGTH_DIGITS]))

    def _refuse_more_than_left(self, size_bytes: int) -> None:
        if size_bytes > self._left_bytes:
            raise ImportTooLarge(f"Table and archive may have {self._max_bytes} bytes together")

    def take(self, reader: MultipartReader, piece: bytes) -> None:
        self._refuse_more_than_left(len(piece))
        self._left_bytes -= len(piece)
        for event in reader.feed(piece):
            match event:
                case PartBegins(field=name):
                    self._part = self._begin(name)
                case PartContinues(data=data) if self._part:
                    self._part.write(data)
                case PartEnds():
                    self._part = None

    def _begin(self, name: str) -> Spool:
        if name not in PARTS:
            raise UnknownField(f"The fields known here are {' and '.join(PARTS)}")
        if name in self._spools:
            raise RepeatedField(f"`{name}` came twice", field=name)
        self._spools[name] = self._folder.spool()
        return self._spools[name]

    async def form(self) -> ArrivedImport:
        for name in PARTS:
            if name not in self._spools or not self._spools[name].size_bytes:
                raise ImportPartMissing(f"`{name}` is missing or empty", field=name)
        table, archive = (self._spools[name] for name in PARTS)
        sha256s = {
            name: await asyncio.to_thread(spool.finish) for name, spool in self._spools.items()
        }
        return ArrivedImport(table, archive, sha256s)

    def discard(self) -> None:
        for spool in self._spools.values():
            spool.discard()
