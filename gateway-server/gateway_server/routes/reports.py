"""/v1/searches/{id}/report: a search on one page, for a case file. For operators."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from gateway_server.console.report import print_report, write_report
from gateway_server.routes.access import (
    SEARCH_WEIGHT,
    Audited,
    Operator,
    SearchId,
    TheGateway,
    does,
    refusals,
)

router = APIRouter(prefix="/v1/searches", tags=["searches"], route_class=Audited)


@router.get("/{search_id}/report", response_class=HTMLResponse, responses=refusals(404, 409))
@does("report", weight=SEARCH_WEIGHT)
async def get_report(
    request: Request, search_id: SearchId, caller: Operator, gateway: TheGateway
) -> HTMLResponse:
    """To print: photo, candidates, heatmaps, scores in words and verdicts; it loads nothing else.

    In English or Korean, by Accept-Language.
    """
    return print_report(request, await write_report(gateway, search_id, caller))
