"""The gateway's door for photos: a form is checked while it arrives and refused as early as can be.

Size, type and number are judged before the rest is read; no pixel is ever decoded. Each photo goes
to the disk as it comes, under no name; what is not saved when the form is put down is gone. What is
saved holds the picture alone: where it was taken, and by whom, is cut out.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from gateway_server.image_header import SIGNATURE_BYTES, TYPES, read_size, sniff_type
from gateway_server.metadata import strip_metadata
from gateway_server.multipart import MultipartReader, PartBegins, PartContinues, PartEnds
from gateway_server.photo_store import PhotoName, PhotoStore, Spool
from gateway_server.problems import (
    EmptyPhoto,
    FieldTooLong,
    PhotoMissing,
    PhotoTooLarge,
    RepeatedField,
    RequestTooLarge,
    TooManyPhotos,
    TooManyPixels,
    UnknownField,
    UnsupportedImageType,
    UploadTooSlow,
    WrongPhotoField,
)
from gateway_server.texts import TextRule

FORM_OVERHEAD_BYTES = 64 * 1024
MAX_JSON_BYTES = 64 * 1024
JSON_WITHIN_S = 30.0
MAX_LENGTH_DIGITS = 18  # of a Content-Length that is worth reading to its end


@dataclass(frozen=True)
class PhotoLimits:
    max_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class CheckedPhoto:
    """A photo on the disk, found in order; width and height are those before the EXIF turn."""

    spool: Spool
    name: PhotoName
    width: int
    height: int


@dataclass(frozen=True)
class FormShape:
    texts: Mapping[str, TextRule]
    photo_fields: tuple[str, ...] = ("photo",)
    max_photos: int = 1


@dataclass(frozen=True)
class Form:
    texts: Mapping[str, str]
    photos: tuple[CheckedPhoto, ...]

    def said(self) -> Iterator[str]:
        """All that it says, in an order of its own: whether two forms ask the same."""
        for name, text in sorted(self.texts.items()):
            yield from (name, text)
        for photo in self.photos:
            yield photo.name.sha256


class Intake:
    def __init__(self, store: PhotoStore, limits: PhotoLimits, within_s: float) -> None:
        """`within_s`: a form has arrived by then, or it is refused."""
        self._store = store
        self._limits = limits
        self._within_s = within_s

    @asynccontextmanager
    async def receive(self, request: Request, shape: FormShape) -> AsyncIterator[Form]:
        """The checked form, for as long as the block lasts.

        Raises FormRefused, PhotoRefused and ValueRefused.
        """
        arrival = _Arrival(self._store, self._limits, shape)
        try:
            arrival.expect(request.headers.get("content-length"))
            reader = MultipartReader(request.headers.get("content-type"))
            await self._read(request, arrival, reader)
            yield arrival.form()
        finally:
            await asyncio.shield(asyncio.to_thread(arrival.discard))  # unlinking may take a while

    async def _read(self, request: Request, arrival: "_Arrival", reader: MultipartReader) -> None:
        try:
            async with asyncio.timeout(self._within_s):
                async for piece in request.stream():
                    await arrival.take(reader, piece)
        except TimeoutError as error:
            raise UploadTooSlow(f"It has to arrive within {self._within_s:g} s") from error
        reader.finish()

    def spool(self) -> Spool:
        """For a photo that comes from elsewhere than a form; whoever asks for it discards it."""
        return self._store.spool()

    def check(self, spool: Spool, pieces: Iterable[bytes]) -> CheckedPhoto:
        """The same checks as of a form's photo. It blocks: for a thread."""
        arriving = _ArrivingPhoto(spool, self._limits)
        for piece in pieces:
            arriving.write(piece)
        photo = arriving.finish()
        spool.sync()
        return photo


@dataclass
class _ArrivingText:
    name: str
    rule: TextRule
    data: bytearray = field(default_factory=bytearray)

    def write(self, piece: bytes) -> None:
        self.data += piece
        if len(self.data) > self.rule.max_bytes:
            limit = f"`{self.name}` may have {self.rule.max_characters} characters"
            raise FieldTooLong(limit, field=self.name)


class _ArrivingPhoto:
    def __init__(self, spool: Spool, limits: PhotoLimits) -> None:
        self.spool = spool
        self._limits = limits
        self._head = b""
        self._media_type: str | None = None

    def write(self, piece: bytes) -> None:
        if self.spool.size_bytes + len(piece) > self._limits.max_bytes:
            raise PhotoTooLarge(f"A photo may have {self._limits.max_bytes} bytes")
        if len(self._head) < SIGNATURE_BYTES:
            self._head += piece[:SIGNATURE_BYTES]
            self._judge_type()
        self.spool.write(piece)

    def _judge_type(self) -> None:
        self._media_type = sniff_type(self._head)
        if len(self._head) >= SIGNATURE_BYTES and self._media_type is None:
            raise UnsupportedImageType(f"By its content, it is none of {', '.join(TYPES)}")

    def finish(self) -> CheckedPhoto:
        if not self.spool.size_bytes:
            raise EmptyPhoto
        if self._media_type is None:
            raise UnsupportedImageType(f"By its content, it is none of {', '.join(TYPES)}")
        came = self.spool.read()
        width, height = read_size(self.spool.path, self._media_type)
        if width * height > self._limits.max_pixels:
            rule = (
                f"A photo may have {self._limits.max_pixels} pixels; this one is {width}x{height}"
            )
            raise TooManyPixels(rule)
        bare = strip_metadata(came, self._media_type)
        if bare != came:
            self.spool.replace(bare)
        name = PhotoName(self.spool.finish(), self._media_type)
        return CheckedPhoto(self.spool, name, width, height)


class _Arrival:
    """One form on its way in."""

    def __init__(self, store: PhotoStore, limits: PhotoLimits, shape: FormShape) -> None:
        self._store = store
        self._limits = limits
        self._shape = shape
        self._spools: list[Spool] = []
        self._texts: dict[str, str] = {}
        self._photos: list[CheckedPhoto] = []
        self._part: _ArrivingText | _ArrivingPhoto | None = None
        self._left_bytes = shape.max_photos * limits.max_bytes + FORM_OVERHEAD_BYTES

    def expect(self, content_length: str | None) -> None:
        """Refuse a body that says itself that it is too large, before any of it is read."""
        if content_length is not None and content_length.isdecimal():
            self._refuse_more_than_left(int(content_length[:MAX_LENGTH_DIGITS]))

    def _refuse_more_than_left(self, size_bytes: int) -> None:
        if size_bytes > self._left_bytes:
            refusal = PhotoTooLarge if self._shape.max_photos == 1 else RequestTooLarge
            raise refusal(f"A photo may have {self._limits.max_bytes} bytes")

    async def take(self, reader: MultipartReader, piece: bytes) -> None:
        self._refuse_more_than_left(len(piece))
        self._left_bytes -= len(piece)
        for event in reader.feed(piece):
            match event:
                case PartBegins(field=name, is_file=is_file):
                    self._part = self._begin(name, is_file=is_file)
                case PartContinues(data=data) if self._part:
                    self._part.write(data)
                case PartEnds() if self._part:
                    await self._end(self._part)

    def _begin(self, name: str, *, is_file: bool) -> "_ArrivingText | _ArrivingPhoto":
        if name in self._shape.photo_fields:
            return self._begin_photo()
        if name in self._shape.texts:
            return self._begin_text(name)
        known = ", ".join((*self._shape.photo_fields, *self._shape.texts))
        if is_file:
            raise WrongPhotoField(f"The photo belongs in `{self._shape.photo_fields[0]}`")
        raise UnknownField(f"The fields known here are {known}")

    def _begin_photo(self) -> _ArrivingPhoto:
        if len(self._spools) == self._shape.max_photos:
            raise TooManyPhotos(f"{self._shape.max_photos} may come at a time")
        spool = self._store.spool()
        self._spools.append(spool)
        return _ArrivingPhoto(spool, self._limits)

    def _begin_text(self, name: str) -> _ArrivingText:
        if name in self._texts:
            raise RepeatedField(f"`{name}` came twice", field=name)
        return _ArrivingText(name, self._shape.texts[name])

    async def _end(self, part: _ArrivingText | _ArrivingPhoto) -> None:
        if isinstance(part, _ArrivingText):
            self._texts[part.name] = part.rule.decode(part.name, bytes(part.data))
        else:
            self._photos.append(await asyncio.to_thread(part.finish))
        self._part = None

    def form(self) -> Form:
        if not self._photos:
            raise PhotoMissing(f"The photo belongs in `{self._shape.photo_fields[0]}`")
        return Form(self._texts, tuple(self._photos))

    def discard(self) -> None:
        for spool in self._spools:
            spool.discard()


async def read_limited(request: Request) -> bytes:
    """The whole body of a request that carries no photo."""
    body = bytearray()
    try:
        async with asyncio.timeout(JSON_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_JSON_BYTES:
                    raise RequestTooLarge(f"A body without a photo may have {MAX_JSON_BYTES} bytes")
    except TimeoutError as error:
        raise UploadTooSlow(f"It has to arrive within {JSON_WITHIN_S:g} s") from error
    return bytes(body)
