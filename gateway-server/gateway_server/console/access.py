"""Who may look at a page, and whether it is our own page that asks for a change."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from gateway_server.auth import Role
from gateway_server.browser_sessions import Session
from gateway_server.console.pages import Visitor
from gateway_server.intake import read_limited
from gateway_server.problems import BrokenForm, NotForm, Unauthorized
from gateway_server.routes.access import SESSION_COOKIE, TheGateway, enter_by_cookie
from gateway_server.routes.cross_site import (
    CSRF_FIELD,
    CSRF_HEADER,
    SAFE_METHODS,
    check_csrf_token,
    refuse_foreign_origin,
)

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 100
Fields = Mapping[str, str]


def _let(*roles: Role) -> Callable[..., Awaitable[Visitor]]:
    async def identify(request: Request, gateway: TheGateway) -> Visitor:
        token = request.cookies.get(SESSION_COOKIE)
        if token is None:
            raise Unauthorized("Nobody has signed in")
        session = await enter_by_cookie(request, gateway, token)
        visitor = request.state.visitor = visitor_in(session)
        if request.method not in SAFE_METHODS:
            refuse_foreign_origin(request)
            check_csrf_token(session.csrf_token, await _shown_token(request))
        visitor.caller.must_be(roles)
        return visitor

    return identify


AnyVisitor = Annotated[Visitor, Depends(_let("mobile", "operator", "admin"))]
OperatorPage = Annotated[Visitor, Depends(_let("operator", "admin"))]
AdminPage = Annotated[Visitor, Depends(_let("admin"))]


def visitor_in(session: Session) -> Visitor:
    return Visitor(session.caller, session.key_name, session.csrf_token, session.idle_s)


async def read_form(request: Request) -> Fields:
    """The fields of a plain form, each once; a multipart one is the intake's."""
    known: Fields | None = getattr(request.state, "form", None)
    if known is None:
        known = request.state.form = await _parse(request)
    return known


async def _shown_token(request: Request) -> str | None:
    """In the header, or in the form; a multipart form is not read for it."""
    shown = request.headers.get(CSRF_HEADER)
    if shown is None and _is_form(request):
        return (await read_form(request)).get(CSRF_FIELD)
    return shown


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == FORM_TYPE


async def _parse(request: Request) -> Fields:
    if not _is_form(request):
        raise NotForm(f"The Content-Type is {request.headers.get('content-type', 'missing')}")
    try:
        text = (await read_limited(request)).decode("ascii")
        named = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise BrokenForm(str(error)) from error
    return dict(named)
