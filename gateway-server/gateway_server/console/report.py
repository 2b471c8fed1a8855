"""A search for a case file: one page to print, with all that it shows within it."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final, TypeVar

from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from gateway_server.audit import note
from gateway_server.auth import Caller
from gateway_server.console.pages import render
from gateway_server.console.search_view import SearchView, view_search
from gateway_server.gateway import Gateway
from gateway_server.photo_archive import StoredPhoto
from gateway_server.problems import NotFound, Outage, PhotoRefused, SearchNotDone
from gateway_server.review.desk import Standing
from gateway_server.schemas import CandidateOut, PersonOut
from gateway_server.tables import now

T = TypeVar("T")
ON_A_PAGE: Final = 5
MOST_BYTES: Final = 4 * 1024 * 1024  # of the whole photo; of a larger one the face alone is shown
SHOWN_BY_BROWSERS: Final = ("image/jpeg", "image/png", "image/webp")


@dataclass(frozen=True)
class Pictures:
    """As data: addresses; None where there is none any more, or none now."""

    face: str | None
    heatmap: str | None


@dataclass(frozen=True)
class Compared:
    candidate: CandidateOut
    standing: Standing
    person: PersonOut | None
    pictures: Pictures


@dataclass(frozen=True)
class Report:
    view: SearchView
    photo: str | None
    probe: Pictures
    compared: list[Compared]
    reader: str
    """The name of the key that asked for it."""
    written_at: datetime


async def write_report(gateway: Gateway, search_id: str, caller: Caller) -> Report:
    view = await view_search(gateway, search_id, caller)
    if view.search.status != "done":
        raise SearchNotDone(f"The search is {view.search.status}")
    reader = gateway.search_reader
    photo, probe, compared = await asyncio.gather(
        _whole(reader.photo(search_id, caller)),
        _pictures(reader.thumbnail(search_id, caller), reader.heatmap(search_id, caller)),
        _compare(gateway, view, caller),
    )
    note(photo_sha256=view.row.photo_sha256)  # it is about the search's, not the last one read
    key = await gateway.keyring.get(caller.key_id)
    return Report(view, photo, probe, compared, key.name, now())


def print_report(request: Request, report: Report) -> HTMLResponse:
    """A page that loads nothing: it may be saved, sent and printed as it is."""
    style = _style()
    page = render(
        request,
        "report.html",
        style=Markup("<style>{}</style>").format(Markup(style)),  # noqa: S704 - a file of ours
        report=report,
        **report.view.values,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    page.headers["Cache-Control"] = "private, no-store"
    page.headers["Referrer-Policy"] = "no-referrer"
    return page


async def _compare(gateway: Gateway, view: SearchView, caller: Caller) -> list[Compared]:
    found = (view.search.candidates or [])[:ON_A_PAGE]
    return await asyncio.gather(*(_compared(gateway, view, one, caller) for one in found))


async def _compared(
    gateway: Gateway, view: SearchView, candidate: CandidateOut, caller: Caller
) -> Compared:
    person_id, search_id = candidate.person_id, view.search.id
    person, pictures = await asyncio.gather(
        _if_there(gateway.persons.get(person_id)),
        _pictures(
            _portrait(gateway, candidate),
            gateway.search_reader.candidate_heatmap(search_id, person_id, caller),
        ),
    )
    return Compared(candidate, view.standings[person_id], person, pictures)


async def _portrait(gateway: Gateway, candidate: CandidateOut) -> StoredPhoto:
    face = await gateway.persons.get_face(candidate.person_id, candidate.face_id)
    return await gateway.thumbnails.of(face.photo_sha256, face.face_index)


async def _whole(reading: Awaitable[StoredPhoto]) -> str | None:
    photo = await _if_there(reading)
    if photo is None or len(photo.data) > MOST_BYTES:
        return None
    return _address(photo.data, photo.media_type) if photo.media_type in SHOWN_BY_BROWSERS else None


async def _pictures(face: Awaitable[StoredPhoto], heatmap: Awaitable[bytes]) -> Pictures:
    shown, map_ = await asyncio.gather(_if_there(face), _if_there(heatmap))
    return Pictures(
        _address(shown.data, shown.media_type) if shown else None,
        _address(map_, "image/png") if map_ else None,
    )


async def _if_there(reading: Awaitable[T]) -> T | None:
    """A report without a picture is better than none."""
    try:
        return await reading
    except (NotFound, PhotoRefused, Outage):
        return None


def _address(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@cache
def _style() -> str:
    return (files("gateway_server.console") / "static" / "report.css").read_text(encoding="utf-8")
