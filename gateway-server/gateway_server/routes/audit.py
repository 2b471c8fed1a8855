"""/v1/audit: who reached for whom. For admins; looking into it leaves a row as well."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway_server.audit import Wanted
from gateway_server.routes.access import (
    EVER,
    FIRST_PAGE,
    USUAL_LIMIT,
    Admin,
    Audited,
    PageCursor,
    PageLimit,
    Since,
    TheGateway,
    does,
    refusals,
)
from gateway_server.schemas import AuditOut, AuditPage
from gateway_server.texts import parse_moment

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=Audited)
Id = Annotated[str | None, Query(max_length=36)]


@router.get("", responses=refusals())
@does("audit")
async def list_accesses(
    _caller: Admin,
    gateway: TheGateway,
    person_id: Id = None,
    search_id: Id = None,
    key_id: Id = None,
    since: Since = EVER,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> AuditPage:
    """Newest first."""
    wanted = Wanted(person_id, search_id, key_id, parse_moment("since", since))
    page = await gateway.audit.list(wanted, cursor, limit)
    rows = [AuditOut.model_validate(row) for row in page.rows]
    return AuditPage(rows=rows, next_cursor=page.next_cursor)
