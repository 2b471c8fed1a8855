"""Problems as pages: as a whole one, or as a notice in the one that is there."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from gateway_server.console.pages import is_fragment, render
from gateway_server.journal import current_request_id
from gateway_server.one_time import Given
from gateway_server.problems import MEDIA_TYPE, TYPE_PREFIX, Problem
from gateway_server.routes.access import SESSION_COOKIE

SIGN_IN: Final = "/console/sign-in"


def wants_page(request: Request) -> bool:
    """A person is to read the answer, not a script."""
    accepted = request.headers.get("accept", "")
    return request.url.path.startswith("/console") and "application/json" not in accepted


def show_problem(request: Request, problem: Problem) -> Response:
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return _to_sign_in(request)
    told = {**problem.members(current_request_id()), "slug": problem.slug}
    return _shown(request, told, problem.headers)


def show_kept(request: Request, given: Given) -> Response:
    """Answers are kept as JSON, whoever asked: a refusal among them is shown as one."""
    if given.media_type != MEDIA_TYPE or not wants_page(request):
        return Response(given.body, given.status, dict(given.headers), given.media_type)
    told = json.loads(given.body)
    return _shown(request, {**told, "slug": told["type"].removeprefix(TYPE_PREFIX)}, given.headers)


def _shown(request: Request, told: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    template = "problem_notice.html" if is_fragment(request) else "problem.html"
    answer = render(
        request, template, status=told["status"], problem=told, request_id=told["request_id"]
    )
    answer.headers.update(headers)
    return answer


def _to_sign_in(request: Request) -> Response:
    """And back afterwards; a page that is only part of one cannot be come back to."""
    if is_fragment(request):
        address = request.headers.get("hx-current-url", "")
        path = "/" + address.partition("://")[2].partition("/")[2]
        answer = Response(status_code=HTTPStatus.UNAUTHORIZED)
        answer.headers["HX-Redirect"] = _sign_in_then(path)
    else:
        path = request.url.path if request.method == "GET" else ""
        answer = RedirectResponse(_sign_in_then(path), HTTPStatus.SEE_OTHER)
    if SESSION_COOKIE in request.cookies:  # else another site could sign a browser out by a link
        answer.delete_cookie(SESSION_COOKIE)
    return answer


def _sign_in_then(path: str) -> str:
    return f"{SIGN_IN}?{urlencode({'next': path})}" if path.startswith("/console/") else SIGN_IN
