"""What the routes have in common: the gateway, who is calling, ids, and the documented refusals."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ValidationError

from gateway_server.auth import Caller, Role
from gateway_server.gateway import Gateway
from gateway_server.intake import read_limited
from gateway_server.paging import DEFAULT_LIMIT, MAX_CURSOR_CHARACTERS, MAX_LIMIT
from gateway_server.problems import (
    MEDIA_TYPE,
    BrokenJson,
    FaceNotFound,
    FailureNotFound,
    InvalidBody,
    NotFound,
    NotJson,
    PersonNotFound,
    Problem,
    SearchNotFound,
)
from gateway_server.schemas import ProblemOut
from gateway_server.tables import is_id

M = TypeVar("M", bound=BaseModel)
_bearer = HTTPBearer(auto_error=False, description="`rk_<id>_<secret>`, as `keys create` shows it")


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(_gateway)]


def _allow(*roles: Role) -> Callable[..., Awaitable[Caller]]:
    async def identify(
        gateway: TheGateway,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        caller = await gateway.keyring.identify(credentials.credentials if credentials else None)
        caller.must_be(roles)
        return caller

    return identify


AnyCaller = Annotated[Caller, Depends(_allow("mobile", "operator", "admin"))]
Operator = Annotated[Caller, Depends(_allow("operator", "admin"))]


def _known_as(missing: type[NotFound]) -> AfterValidator:
    """An id that no row can have is answered like one that no row has."""

    def check(text: str) -> str:
        if not is_id(text):
            raise missing
        return text

    return AfterValidator(check)


SearchId = Annotated[str, _known_as(SearchNotFound)]
PersonId = Annotated[str, _known_as(PersonNotFound)]
FaceId = Annotated[str, _known_as(FaceNotFound)]
FailureId = Annotated[str, _known_as(FailureNotFound)]

PageCursor = Annotated[
    str | None,
    Query(
        alias="cursor",
        max_length=MAX_CURSOR_CHARACTERS,
        description="`next_cursor` of the page before",
    ),
]
PageLimit = Annotated[int, Query(alias="limit", ge=1, le=MAX_LIMIT)]
FIRST_PAGE: PageCursor = None
USUAL_LIMIT: PageLimit = DEFAULT_LIMIT


async def read_json(request: Request, kind: type[M]) -> M:
    """The body as `kind`: read within limits, and only after the caller was let in."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise NotJson(f"The Content-Type is {content_type or 'missing'}")
    try:
        return kind.model_validate_json(await read_limited(request))
    except ValidationError as error:
        raise _body_problem(error) from error


def _body_problem(error: ValidationError) -> Problem:
    """Names the members at fault, never their values."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return BrokenJson(faults[0]["msg"])
    named = [{"member": ".".join(map(str, one["loc"])), "rule": one["msg"]} for one in faults]
    return InvalidBody("; ".join(f"{one['member']}: {one['rule']}" for one in named), errors=named)


def json_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a body that `read_json` reads."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def refusals(*statuses: int, access: bool = True) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the problems that a route may answer."""
    content = {MEDIA_TYPE: {"schema": ProblemOut.model_json_schema()}}
    named = {*statuses, *((401, 403, 422, 503) if access else ())}
    return {status: {"description": "problem", "content": content} for status in sorted(named)}
