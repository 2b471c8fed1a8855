"""Coming and going: a key is shown once, and the browser keeps a cookie that only it can send."""

import hmac
import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from gateway_server.auth import Caller, Role
from gateway_server.console.access import AnyVisitor, read_form, visitor_in
from gateway_server.console.headers import is_page
from gateway_server.console.pages import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    Visitor,
    render,
    wording_of,
)
from gateway_server.console.problems import wants_page
from gateway_server.console.wording import LANGUAGES
from gateway_server.gateway import Gateway
from gateway_server.problems import AccessRefused, CrossSiteRefused, RateLimited, Unauthorized
from gateway_server.routes.access import (
    SESSION_COOKIE,
    Audited,
    TheGateway,
    does,
    enter_by_cookie,
    enter_by_key,
)
from gateway_server.routes.cross_site import CSRF_FIELD, refuse_foreign_origin

VISIT_COOKIE: Final = "reunite_visit"
"""The double of the sign-in form's token: another site can neither read nor set it."""
FIRST_PAGES: Final[dict[Role, str]] = {
    "mobile": "/app",
    "operator": "/console/search",
    "admin": "/console/search",
}
VISIT_BYTES = 32
A_YEAR_S = 365 * 24 * 3600
PHONES_COOKIE_S = 400 * 24 * 3600  # the longest that browsers keep one; the session may end before
Next = Annotated[str, Query(alias="next", max_length=2000)]
router = APIRouter(prefix="/console", include_in_schema=False, route_class=Audited)
pages = APIRouter(prefix="/console", include_in_schema=False)


@pages.get("")
async def begin() -> Response:
    return RedirectResponse("/console/search")


@pages.get("/sign-in")
async def show_sign_in(request: Request, gateway: TheGateway, wanted: Next = "") -> Response:
    if wants_page(request):
        return ask_for_key(request, local_address(wanted))
    token = _visit_token(request)
    is_signed_in = await _is_signed_in(request, gateway)
    answer = JSONResponse({CSRF_FIELD: token, "is_signed_in": is_signed_in})
    _keep(request, answer, VISIT_COOKIE, token)
    return answer


@router.post("/sign-in")
@does("sign-in")
async def sign_in(request: Request, gateway: TheGateway) -> Response:
    refuse_foreign_origin(request)
    form = await read_form(request)
    wanted = local_address(form.get("next", ""))
    _check_visit(request, form.get(CSRF_FIELD, ""))
    presented = form.get("key", "").strip()
    try:
        caller = await enter_by_key(request, gateway, presented)
    except (Unauthorized, RateLimited) as refused:
        if wants_page(request):
            return ask_for_key(request, wanted, refused)
        raise
    token = await gateway.browser_sessions.begin(presented, caller)
    await _end_session(request, gateway)
    return await _signed_in(request, gateway, token, caller, wanted)


@router.post("/sign-out")
@does("sign-out")
async def sign_out(request: Request, _visitor: AnyVisitor, gateway: TheGateway) -> Response:
    await _end_session(request, gateway)
    answer = RedirectResponse("/console/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(SESSION_COOKIE)
    if _is_secure(request):
        answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@pages.get("/session")
async def get_session(request: Request, visitor: AnyVisitor) -> JSONResponse:
    """For scripts: who has signed in, and the token of changes."""
    return JSONResponse(_told(request, visitor))


@pages.get("/preferences")
async def set_preference(
    request: Request, wanted: Next = "", language: str = "", theme: str = ""
) -> Response:
    """How it looks, and nothing else: a plain address, so that it needs no script."""
    answer = RedirectResponse(local_address(wanted) or "/console", HTTPStatus.SEE_OTHER)
    if language in LANGUAGES:
        _keep(request, answer, LANGUAGE_COOKIE, language, A_YEAR_S)
    if theme in THEMES:
        _keep(request, answer, THEME_COOKIE, theme, A_YEAR_S)
    return answer


def local_address(wanted: str) -> str:
    """`wanted` if it is one of our own pages; nobody is sent elsewhere."""
    is_plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    return wanted if is_plain and is_page(wanted.partition("?")[0]) else ""


def ask_for_key(request: Request, wanted: str, refused: AccessRefused | None = None) -> Response:
    token = _visit_token(request)
    status = refused.status if refused else HTTPStatus.OK
    values = {"visit_token": token, "wanted": wanted, "refused": refused}
    answer = render(request, "sign_in.html", status=status, **values)
    if refused:
        answer.headers.update(refused.headers)
    _keep(request, answer, VISIT_COOKIE, token)
    return answer


def _visit_token(request: Request) -> str:
    return request.cookies.get(VISIT_COOKIE) or secrets.token_urlsafe(VISIT_BYTES)


async def _is_signed_in(request: Request, gateway: Gateway) -> bool:
    token = request.cookies.get(SESSION_COOKIE)
    if token is None:
        return False
    try:
        await enter_by_cookie(request, gateway, token)
    except AccessRefused:
        return False
    return True


def _check_visit(request: Request, shown: str) -> None:
    token = request.cookies.get(VISIT_COOKIE, "")
    if not token or not hmac.compare_digest(token.encode(), shown.encode()):
        raise CrossSiteRefused("The sign-in form is not from here, or too old: load it again")


async def _signed_in(
    request: Request, gateway: Gateway, token: str, caller: Caller, wanted: str
) -> Response:
    answer: Response
    if wants_page(request):
        first = wanted or FIRST_PAGES[caller.role]
        answer = RedirectResponse(first, HTTPStatus.SEE_OTHER)
    else:
        session = await gateway.browser_sessions.identify(token)
        answer = JSONResponse(_told(request, visitor_in(session)))
    max_age_s = PHONES_COOKIE_S if caller.role == "mobile" else None
    _keep(request, answer, SESSION_COOKIE, token, max_age_s)
    return answer


async def _end_session(request: Request, gateway: Gateway) -> None:
    token = request.cookies.get(SESSION_COOKIE)
    if token is not None:
        await gateway.browser_sessions.end(token)


def _told(request: Request, visitor: Visitor) -> dict[str, object]:
    return {
        "role": visitor.caller.role,
        "key_id": visitor.caller.key_id,
        "key_name": visitor.key_name,
        "csrf_token": visitor.csrf_token,
        "language": wording_of(request).language,
        "idle_s": visitor.idle_s,
    }


def _keep(
    request: Request, answer: Response, name: str, value: str, max_age_s: int | None = None
) -> None:
    """A cookie that no script sees and no other site sends."""
    answer.set_cookie(
        name, value, max_age_s, httponly=True, samesite="strict", secure=_is_secure(request)
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
