"""Earlier searches: who was searched for, and whether anybody credible was found."""

from collections.abc import Mapping
from typing import Any, cast

from fastapi import APIRouter, Request, Response

from gateway_server.console.access import OperatorPage
from gateway_server.console.lists import around, cursor_of, filters_of, one_of
from gateway_server.console.pages import is_fragment, render
from gateway_server.inference_answers import ModelName, Verdict
from gateway_server.routes.access import Audited, TheGateway, does
from gateway_server.schemas import Status
from gateway_server.search_history import SearchesWanted
from gateway_server.texts import parse_moment

SEARCHES_ON_A_PAGE = 50
FILTERS = ("case_reference", "verdict", "status", "model", "since")
router = APIRouter(prefix="/console/searches", include_in_schema=False, route_class=Audited)


@router.get("")
@does("list")
async def list_searches(request: Request, _visitor: OperatorPage, gateway: TheGateway) -> Response:
    filters = filters_of(request, FILTERS)
    found = await gateway.search_history.list(
        _wanted(filters), cursor_of(request), SEARCHES_ON_A_PAGE
    )
    values: dict[str, Any] = {
        "searches": found.searches,
        "keys": await gateway.keyring.names(),
        "filters": filters,
        "pages": around(request, found.next_cursor),
    }
    template = "history/rows.html" if is_fragment(request) else "history/list.html"
    return render(request, template, **values)


def _wanted(filters: Mapping[str, str]) -> SearchesWanted:
    return SearchesWanted(
        status=cast("Status | None", one_of(Status, filters["status"])),
        verdict=one_of(Verdict, filters["verdict"]),
        model=one_of(ModelName, filters["model"]),
        case_reference=filters["case_reference"],
        since=parse_moment("since", filters["since"] or None),
    )
