"""/v1/failures for operators; health, readiness and figures for whoever runs the gateway."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from gateway_server import metrics
from gateway_server.routes.access import (
    FIRST_PAGE,
    USUAL_LIMIT,
    FailureId,
    Operator,
    PageCursor,
    PageLimit,
    TheGateway,
    refusals,
)
from gateway_server.schemas import FailureOut, FailurePage, HealthOut, ReadinessOut

router = APIRouter(tags=["operations"])


@router.get("/v1/failures", responses=refusals())
async def list_failures(
    _caller: Operator,
    gateway: TheGateway,
    only_open: Annotated[
        bool, Query(alias="open", description="without the resolved ones")
    ] = False,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> FailurePage:
    page = await gateway.failures.list(only_open=only_open, cursor=cursor, limit=limit)
    failures = [FailureOut.from_row(row) for row in page.rows]
    return FailurePage(failures=failures, next_cursor=page.next_cursor)


@router.post("/v1/failures/{failure_id}/retry", responses=refusals(404, 409))
async def retry_failure(
    failure_id: FailureId, _caller: Operator, gateway: TheGateway
) -> FailureOut:
    return FailureOut.from_row(await gateway.retries.retry(failure_id))


@router.get("/healthz")
async def tell_health() -> HealthOut:
    return HealthOut()


@router.get("/readyz", responses=refusals(503, access=False))
async def tell_readiness(gateway: TheGateway) -> ReadinessOut:
    return ReadinessOut(checks=await gateway.readiness.check())


@router.get("/metrics", response_class=Response)
async def tell_metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.exposition(), media_type=metrics.CONTENT_TYPE)
