"""What the inference tier still owes: by reason, one by one, and tried again."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway_server.console.access import OperatorPage
from gateway_server.console.lists import around, cursor_of, filters_of
from gateway_server.console.pages import is_fragment, render
from gateway_server.failures import FailuresWanted
from gateway_server.routes.access import Audited, FailureId, TheGateway, does
from gateway_server.schemas import FailureOut

FAILURES_ON_A_PAGE = 50
SHOWN = ("open", "given_up", "all")
ADDRESS = "/console/failures"
router = APIRouter(prefix=ADDRESS, include_in_schema=False, route_class=Audited)


@router.get("")
@does("list")
async def list_failures(request: Request, _visitor: OperatorPage, gateway: TheGateway) -> Response:
    filters = filters_of(request, ("show", "reason", "done"))
    shown = filters["show"] if filters["show"] in SHOWN else SHOWN[0]
    wanted = FailuresWanted(
        only_open=shown == "open", given_up=shown == "given_up", reason=filters["reason"] or None
    )
    page = await gateway.failures.list(wanted, cursor_of(request), FAILURES_ON_A_PAGE)
    values: dict[str, Any] = {
        "reasons": await gateway.failures.count_open(),
        "failures": [FailureOut.from_row(row) for row in page.rows],
        "shown": shown,
        "reason": filters["reason"],
        "done": filters["done"],
        "pages": around(request, page.next_cursor),
    }
    template = "failures/rows.html" if is_fragment(request) else "failures/list.html"
    return render(request, template, **values)


@router.post("/retry")
@does("retry")
async def retry_all(_visitor: OperatorPage, gateway: TheGateway) -> Response:
    retried = await gateway.retries.retry_all()
    return RedirectResponse(f"{ADDRESS}?done={retried}", HTTPStatus.SEE_OTHER)


@router.post("/{failure_id}/retry")
@does("retry")
async def retry_one(
    request: Request, failure_id: FailureId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    failure = FailureOut.from_row(await gateway.retries.retry(failure_id))
    if is_fragment(request):
        return render(request, "failures/row.html", failure=failure)
    return RedirectResponse(ADDRESS, HTTPStatus.SEE_OTHER)
