"""Who reached for whom. For administrators; looking into it leaves a row as well."""

from typing import Any

from fastapi import APIRouter, Request, Response

from gateway_server.audit import Wanted
from gateway_server.console.access import AdminPage
from gateway_server.console.lists import around, cursor_of, filters_of
from gateway_server.console.pages import is_fragment, render
from gateway_server.routes.access import Audited, TheGateway, does
from gateway_server.schemas import AuditOut
from gateway_server.texts import parse_moment

ROWS_ON_A_PAGE = 100
FILTERS = ("person_id", "search_id", "key_id", "since")
router = APIRouter(prefix="/console/audit", include_in_schema=False, route_class=Audited)


@router.get("")
@does("audit")
async def list_accesses(request: Request, _visitor: AdminPage, gateway: TheGateway) -> Response:
    filters = filters_of(request, FILTERS)
    wanted = Wanted(
        person_id=filters["person_id"] or None,
        search_id=filters["search_id"] or None,
        key_id=filters["key_id"] or None,
        since=parse_moment("since", filters["since"] or None),
    )
    page = await gateway.audit.list(wanted, cursor_of(request), ROWS_ON_A_PAGE)
    values: dict[str, Any] = {
        "rows": [AuditOut.model_validate(row) for row in page.rows],
        "keys": await gateway.keyring.names(),
        "filters": filters,
        "pages": around(request, page.next_cursor),
    }
    template = "audit/rows.html" if is_fragment(request) else "audit/list.html"
    return render(request, template, **values)
