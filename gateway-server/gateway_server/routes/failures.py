"""/v1/failures and /v1/removals: what the inference tier still owes. For operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from gateway_server.failures import FailuresWanted
from gateway_server.one_time import Given, Made
from gateway_server.routes.access import (
    FIRST_PAGE,
    USUAL_LIMIT,
    Audited,
    FailureId,
    Operator,
    OperatorPost,
    PageCursor,
    PageLimit,
    RemovalId,
    TheGateway,
    does,
    given,
    refusals,
)
from gateway_server.schemas import FailureOut, FailurePage, RemovalOut, RetriedOut

router = APIRouter(tags=["operations"], route_class=Audited)


@router.get("/v1/failures", responses=refusals())
@does("list")
async def list_failures(
    _caller: Operator,
    gateway: TheGateway,
    only_open: Annotated[
        bool, Query(alias="open", description="without the resolved ones")
    ] = False,
    given_up: Annotated[
        bool, Query(description="only those without a further attempt, which wait for you")
    ] = False,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> FailurePage:
    wanted = FailuresWanted(only_open=only_open, given_up=given_up)
    page = await gateway.failures.list(wanted, cursor, limit)
    failures = [FailureOut.from_row(row) for row in page.rows]
    return FailurePage(failures=failures, next_cursor=page.next_cursor)


@router.post(
    "/v1/failures/retry",
    response_model=RetriedOut,
    status_code=status.HTTP_202_ACCEPTED,
    responses=refusals(409),
)
@does("retry")
async def retry_all_failures(post: OperatorPost) -> Response:
    async def retry(_made: Made) -> Given:
        retried = RetriedOut(retried=await post.gateway.retries.retry_all())
        return given(retried, status.HTTP_202_ACCEPTED)

    return await post.answer([], retry)


@router.post(
    "/v1/failures/{failure_id}/retry", response_model=FailureOut, responses=refusals(404, 409)
)
@does("retry")
async def retry_failure(failure_id: FailureId, post: OperatorPost) -> Response:
    """Another attempt at once; the failure as it stands after it, resolved or not."""

    async def retry(_made: Made) -> Given:
        return given(
            FailureOut.from_row(await post.gateway.retries.retry(failure_id)), status.HTTP_200_OK
        )

    return await post.answer([], retry)


@router.get("/v1/removals/{removal_id}", responses=refusals(404))
@does("read")
async def get_removal(removal_id: RemovalId, _caller: Operator, gateway: TheGateway) -> RemovalOut:
    """The receipt of a deletion."""
    return RemovalOut.from_row(await gateway.removals.get(removal_id))
