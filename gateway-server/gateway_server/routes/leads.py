"""/v1/leads: what waits for the caller's judgement, and what is decided.

A candidate is judged where it was found: `POST /v1/searches/{search_id}/feedback`.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from gateway_server.routes.access import (
    FIRST_PAGE,
    USUAL_LIMIT,
    Audited,
    Operator,
    PageCursor,
    PageLimit,
    TheGateway,
    does,
    refusals,
)
from gateway_server.schemas import LeadOut, LeadsOut

Wanted = Annotated[
    Literal["waiting", "confirmed", "different", "disputed"],
    Query(
        description="`waiting` for the caller, best first; the others by age; `disputed`: admins"
    ),
]
router = APIRouter(prefix="/v1/leads", tags=["leads"], route_class=Audited)


@router.get("", responses=refusals())
@does("list")
async def list_leads(
    caller: Operator,
    gateway: TheGateway,
    status: Wanted = "waiting",
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> LeadsOut:
    if status == "waiting":
        page = await gateway.review.queue(caller, cursor, limit)
    else:
        page = await gateway.review.decided(status, caller, cursor, limit)
    leads = [LeadOut.from_seen(one, status) for one in page.rows]
    return LeadsOut(leads=leads, next_cursor=page.next_cursor)
