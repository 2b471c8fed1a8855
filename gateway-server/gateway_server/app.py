"""The ASGI application: routes, the journal around them, and problems turned into answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from gateway_server.console import audit as audit_pages
from gateway_server.console import failures as failure_pages
from gateway_server.console import (
    history,
    merging,
    model,
    new_people,
    people,
    review,
    search,
    sign_in,
)
from gateway_server.console import imports as import_pages
from gateway_server.console.assets import PREFIX, Assets
from gateway_server.console.headers import PageHeaders
from gateway_server.console.problems import show_problem, wants_page
from gateway_server.gateway import open_gateway
from gateway_server.journal import Journal, current_request_id
from gateway_server.metrics import Metrics
from gateway_server.problems import MEDIA_TYPE, Problem, from_http_status
from gateway_server.routes import (
    audit,
    documentation,
    failures,
    imports,
    keys,
    leads,
    operations,
    persons,
    phone,
    photos,
    reports,
    searches,
)
from gateway_server.routes.access import invalid_parameters
from gateway_server.settings import Settings

DESCRIPTION = """Finds missing persons by face. A match is a lead for people to judge, nothing more.

Errors are `application/problem+json` (RFC 9457); their `type` is stable, one for each reason."""


_ROUTES = (
    searches,
    reports,
    leads,
    persons,
    photos,
    imports,
    failures,
    keys,
    audit,
    operations,
    documentation,
    phone,
)


_PAGES = (
    sign_in.router,
    sign_in.pages,
    search.router,
    search.pages,
    review.router,
    new_people.pages,
    new_people.router,
    merging.router,
    people.router,
    import_pages.router,
    history.router,
    failure_pages.router,
    audit_pages.router,
    model.pages,
)


def create_app(
    settings: Settings, inference_transport: httpx.AsyncBaseTransport | None = None
) -> FastAPI:
    """The database and the photo folder are opened when the app starts, not here."""
    metrics = Metrics()
    app = FastAPI(
        title="Reunite",
        version="1",
        description=DESCRIPTION,
        lifespan=_lifespan(settings, metrics, inference_transport),
        docs_url=None,  # its page asks another host for its parts; ours does not
        redoc_url=None,
        exception_handlers={
            Problem: _answer_problem,
            RequestValidationError: _answer_invalid_parameters,
            HTTPException: _answer_framework_refusal,
        },
    )
    app.state.metrics = metrics
    for routes in _ROUTES:
        app.include_router(routes.router)
    for pages in _PAGES:
        app.include_router(pages)
    app.mount(PREFIX, Assets())
    app.add_middleware(PageHeaders)
    app.add_middleware(Journal, metrics=metrics)
    return app


def _lifespan(
    settings: Settings, metrics: Metrics, transport: httpx.AsyncBaseTransport | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_gateway(settings, metrics, transport) as gateway:
            app.state.gateway = gateway
            async with gateway.workers.at_work(), gateway.caretaker.at_work():
                yield

    return lifespan


async def _answer_problem(request: Request, problem: Problem) -> Response:
    if wants_page(request):
        return show_problem(request, problem)
    members = problem.members(current_request_id())
    headers = dict(problem.headers)
    return JSONResponse(members, problem.status, headers, media_type=MEDIA_TYPE)


async def _answer_invalid_parameters(request: Request, error: RequestValidationError) -> Response:
    return await _answer_problem(request, invalid_parameters(error))


async def _answer_framework_refusal(request: Request, error: HTTPException) -> Response:
    answer = await _answer_problem(request, from_http_status(error.status_code, error.detail))
    answer.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the framework names one route's alone
        answer.headers["Allow"] = ", ".join(_methods_here(request))
    return answer


def _methods_here(request: Request) -> list[str]:
    """What the address knows, over all routes that share it."""
    matching = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for route in matching for method in route.methods or ()})
