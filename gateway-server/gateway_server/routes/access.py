"""What the routes have in common: who is calling, the audit, ids, and the documented refusals."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from gateway_server.audit import Access, Action, note_caller
from gateway_server.auth import Caller, Role, is_key_id
from gateway_server.browser_sessions import Session
from gateway_server.door import Visit
from gateway_server.gateway import Gateway
from gateway_server.intake import read_limited
from gateway_server.one_time import Given, Shortcut, Work, fingerprint_of
from gateway_server.paging import DEFAULT_LIMIT, MAX_CURSOR_CHARACTERS, MAX_LIMIT
from gateway_server.problems import (
    MEDIA_TYPE,
    BrokenJson,
    FaceNotFound,
    FailureNotFound,
    ImportNotFound,
    InvalidBody,
    InvalidParameter,
    KeyNotFound,
    NotFound,
    NotJson,
    PersonNotFound,
    Problem,
    RemovalNotFound,
    SearchNotFound,
)
from gateway_server.routes.cross_site import (
    CSRF_HEADER,
    SAFE_METHODS,
    check_csrf_token,
    refuse_foreign_origin,
)
from gateway_server.schemas import ProblemOut
from gateway_server.tables import is_id

M = TypeVar("M", bound=BaseModel)
_bearer = HTTPBearer(auto_error=False, description="`rk_<id>_<secret>`, as `keys create` shows it")


API = "/v1/"
SESSION_COOKIE = "reunite_session"
UNATTENDED_HEADER = "X-Unattended"
"""On what a page asks by itself, while nobody may be sitting there."""
SEARCH_WEIGHT = 5  # in the limits: a photo is stored, decoded and compared with everybody
HEATMAP_WEIGHT = 2  # an inference, without the comparison
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_DEED = "__deed__"


@dataclass(frozen=True)
class Deed:
    """What a route does: its word in the audit, and its weight in the limits."""

    action: Action
    weight: int


def does(action: Action, *, weight: int = 1) -> Callable[[Endpoint], Endpoint]:
    """For every endpoint below /v1: a route without it cannot be made."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DEED, Deed(action, weight))
        return endpoint

    return mark


class Audited(APIRoute):
    """A route whose answers leave when the audit has a row of them, refusals too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        deed: Deed | None = getattr(self.endpoint, _DEED, None)
        if deed is None:
            raise TypeError(f"{self.path} does not say what it `does`")

        async def audited(request: Request) -> Response:
            access = Access(deed.action)
            access.names(request.url.path)
            request.state.deed = deed
            async with _gateway(request).audit.recorded(access):
                try:
                    response = await answer(request)
                except RequestValidationError as error:
                    raise invalid_parameters(error) from error
                except ClientDisconnect:
                    access.fault = "client-disconnected"
                    raise
                access.names(response.headers.get("location"))
                return response

        return audited


def invalid_parameters(error: RequestValidationError) -> InvalidParameter:
    """Names the parameters at fault, never their values."""
    return InvalidParameter(
        "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
    )


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _depend_on_gateway(request: Request) -> Gateway:
    """A function that is not awaited would cost every request a thread's turn."""
    return _gateway(request)


TheGateway = Annotated[Gateway, Depends(_depend_on_gateway)]


def _allow(*roles: Role) -> Callable[..., Awaitable[Caller]]:
    async def identify(
        request: Request,
        gateway: TheGateway,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        token = request.cookies.get(SESSION_COOKIE)
        if credentials is None and token is not None:
            session = await enter_by_cookie(request, gateway, token)
            if request.method not in SAFE_METHODS:
                refuse_foreign_origin(request)
                check_csrf_token(session.csrf_token, request.headers.get(CSRF_HEADER))
            caller = session.caller
        else:
            presented = credentials.credentials if credentials else None
            caller = await enter_by_key(request, gateway, presented)
        caller.must_be(roles)
        return caller

    return identify


async def enter_by_key(request: Request, gateway: Gateway, presented: str | None) -> Caller:
    visit = await gateway.door.enter(presented, _address(request), _weight(request))
    _receive(request, visit)
    return visit.caller


async def enter_by_cookie(request: Request, gateway: Gateway, token: str) -> Session:
    visit = await gateway.door.enter_again(
        token,
        _address(request),
        _weight(request),
        attended=_is_attended(request),
    )
    _receive(request, visit)
    return visit.session


def _is_attended(request: Request) -> bool:
    """A page's pictures follow the page, which may have asked for itself by itself."""
    is_picture = request.headers.get("sec-fetch-dest") == "image"
    return UNATTENDED_HEADER not in request.headers and not is_picture


def _receive(request: Request, visit: Visit) -> None:
    if visit.standing is not None:
        tell(request, visit.standing.headers())
    visit.check()
    note_caller(visit.caller.key_id, visit.caller.role)


def _weight(request: Request) -> int:
    deed: Deed | None = getattr(request.state, "deed", None)
    return deed.weight if deed else 1


def _address(request: Request) -> str:
    return request.client.host if request.client else "-"


def tell(request: Request, headers: Mapping[str, str]) -> None:
    """Headers of the answer, whatever it will be: the journal adds them when it leaves."""
    request.state.answer_headers = headers


AnyCaller = Annotated[Caller, Depends(_allow("mobile", "operator", "admin"))]
Operator = Annotated[Caller, Depends(_allow("operator", "admin"))]
Admin = Annotated[Caller, Depends(_allow("admin"))]


def _known_as(missing: type[NotFound], could_be: Callable[[str], bool] = is_id) -> AfterValidator:
    """An id that no row can have is answered like one that no row has."""

    def check(text: str) -> str:
        if not could_be(text):
            raise missing
        return text

    return AfterValidator(check)


SearchId = Annotated[str, _known_as(SearchNotFound)]
PersonId = Annotated[str, _known_as(PersonNotFound)]
FaceId = Annotated[str, _known_as(FaceNotFound)]
RemovalId = Annotated[str, _known_as(RemovalNotFound)]
ImportId = Annotated[str, _known_as(ImportNotFound)]
FailureId = Annotated[str, _known_as(FailureNotFound)]
KeyId = Annotated[str, _known_as(KeyNotFound, is_key_id)]


Since = Annotated[
    str | None,
    Query(
        description="a moment, or the first one of a day: YYYY-MM-DD, in UTC",
        json_schema_extra={
            "type": "string",
            "anyOf": [{"format": "date-time"}, {"format": "date"}],
        },
    ),
]
EVER: Since = None


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


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]*$"},
        description="a name of the client's for this request, 1 to 255 ASCII characters: repeated "
        "with the same body within a day, a phone's within 30, it gets the same answer once more",
    ),
]
NO_KEY: IdempotencyKey = None


@dataclass(frozen=True)
class Post:
    """A POST's circumstances: all that is needed to answer it once."""

    request: Request
    gateway: Gateway
    caller: Caller
    key: str | None

    async def answer(
        self, said: Iterable[str | bytes], work: Work, shortcut: Shortcut | None = None
    ) -> Response:
        """`said`: what the body says; `work`: done unless it was done before."""
        asked = fingerprint_of(self.request.method, self.request.url.path, said)
        once = self.gateway.one_time
        return self.show(await once.answer(self.caller, self.key, asked, work, shortcut))

    def show(self, given: Given) -> Response:
        return Response(given.body, given.status, dict(given.headers), given.media_type)


def _post(roles: tuple[Role, ...]) -> Callable[..., Awaitable[Post]]:
    async def gather(
        request: Request,
        gateway: TheGateway,
        caller: Annotated[Caller, Depends(_allow(*roles))],
        key: IdempotencyKey = NO_KEY,
    ) -> Post:
        return Post(request, gateway, caller, key)

    return gather


AnyPost = Annotated[Post, Depends(_post(("mobile", "operator", "admin")))]
OperatorPost = Annotated[Post, Depends(_post(("operator", "admin")))]
AdminPost = Annotated[Post, Depends(_post(("admin",)))]


def given(shape: BaseModel, status: int, *, sparse: bool = False, **headers: str) -> Given:
    """The answer that says this; underscores in the headers' names stand for hyphens.

    `sparse`: members that have no value yet are absent.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Given(status, shape.model_dump_json(exclude_unset=sparse), named)


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


def _headers(**described: str) -> dict[str, Any]:
    """Of an answer that always has them; underscores in the names stand for hyphens."""
    return {
        "headers": {
            name.replace("_", "-"): {
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in described.items()
        }
    }


BODY = (400, 408, 413, 415)  # what may be wrong with any
LOCATION = _headers(Location="the address of what was made")
_RETRY_AFTER = _headers(Retry_After="seconds")
_PROBLEM_HEADERS = {
    401: _headers(WWW_Authenticate="`Bearer`, and the realm"),
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def refusals(*statuses: int, access: bool = True) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the problems that a route may answer."""
    content = {MEDIA_TYPE: {"schema": ProblemOut.model_json_schema()}}
    named = {*statuses, *((401, 403, 422, 429, 503) if access else ())}
    problem = {"description": "problem", "content": content}
    return {status: problem | _PROBLEM_HEADERS.get(status, {}) for status in sorted(named)}
