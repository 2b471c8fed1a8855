"""Health, readiness and figures, for whoever runs the gateway."""

from fastapi import APIRouter, Request, Response

from gateway_server import metrics
from gateway_server.routes.access import TheGateway, refusals
from gateway_server.schemas import HealthOut, ReadinessOut

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def tell_health() -> HealthOut:
    return HealthOut()


@router.get("/readyz", responses=refusals(503, access=False))
async def tell_readiness(gateway: TheGateway) -> ReadinessOut:
    return ReadinessOut(checks=await gateway.readiness.check())


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def tell_metrics(request: Request) -> Response:
    return Response(await request.app.state.metrics.exposition(), media_type=metrics.CONTENT_TYPE)
