"""The review page: one pair after the other, best first; and what is decided."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway_server.auth import Caller
from gateway_server.console.access import OperatorPage, read_form
from gateway_server.console.pages import is_fragment, query_of, render
from gateway_server.console.search import read_verdict
from gateway_server.gateway import Gateway
from gateway_server.problems import SearchNotFound
from gateway_server.review.desk import MOST_COUNTED
from gateway_server.routes.access import FIRST_PAGE, Audited, PageCursor, TheGateway, does
from gateway_server.tables import is_id

IN_A_STRIP: Final = 8
IN_A_LIST: Final = 25
Decided = Literal["confirmed", "different", "disputed"]
Place = Annotated[int, Query(alias="at", ge=0, lt=IN_A_STRIP)]
router = APIRouter(prefix="/console/review", include_in_schema=False, route_class=Audited)


@router.get("")
@does("list")
async def show_queue(
    request: Request,
    visitor: OperatorPage,
    gateway: TheGateway,
    cursor: PageCursor = FIRST_PAGE,
    at: Place = 0,
) -> Response:
    return await _show(request, gateway, visitor.caller, cursor, at)


@router.get("/{status}")
@does("list")
async def show_decided(
    request: Request,
    status: Decided,
    visitor: OperatorPage,
    gateway: TheGateway,
    cursor: PageCursor = FIRST_PAGE,
) -> Response:
    page = await gateway.review.decided(status, visitor.caller, cursor, IN_A_LIST)
    here = request.url.path
    pages = {
        "first": here if cursor else None,
        "next": f"{here}?{query_of(cursor=page.next_cursor)}" if page.next_cursor else None,
    }
    return render(request, "review/decided.html", chosen=status, leads=page.rows, pages=pages)


@router.post("/judge")
@does("judge")
async def judge(request: Request, visitor: OperatorPage, gateway: TheGateway) -> Response:
    form = await read_form(request)
    said, search_id = read_verdict(form), form.get("search_id", "")
    if not is_id(search_id):
        raise SearchNotFound
    await gateway.search_reader.judge(search_id, said.person_id, said.verdict, visitor.caller)
    cursor, at = form.get("cursor") or None, _place(form)
    if is_fragment(request):
        judged = {"search_id": search_id, "verdict": said.verdict, "name": form.get("name", "")}
        return await _show(request, gateway, visitor.caller, cursor, at, judged)
    address = query_of(cursor=cursor, at=at)
    return RedirectResponse(f"/console/review?{address}", status_code=303)


async def _show(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    cursor: str | None,
    at: int,
    judged: Mapping[str, str] | None = None,
) -> Response:
    """The pair at that place of the page; where there is none any more, the last before it."""
    page = await gateway.review.queue(caller, cursor, IN_A_STRIP)
    if not page.rows and cursor is not None:
        cursor, at = None, 0
        page = await gateway.review.queue(caller, None, IN_A_STRIP)
    at = min(at, max(len(page.rows) - 1, 0))
    waiting = await gateway.review.waiting(caller)
    return render(
        request,
        "review/desk.html" if is_fragment(request) else "review/queue.html",
        chosen="waiting",
        leads=page.rows,
        at=at,
        cursor=cursor,
        next_cursor=page.next_cursor,
        waiting=waiting,
        most_counted=MOST_COUNTED,
        judged=judged,
    )


def _place(form: Mapping[str, str]) -> int:
    text = form.get("at", "0")
    return int(text) if text.isdecimal() and len(text) < 4 else 0
