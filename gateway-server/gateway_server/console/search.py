"""The search page: a photo goes in, the most similar people come out, to be judged."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from gateway_server.console.access import OperatorPage, read_form
from gateway_server.console.new_people import PagePost, made
from gateway_server.console.pages import is_fragment, render
from gateway_server.console.search_view import view_search
from gateway_server.gateway import Gateway
from gateway_server.one_time import Given, Made
from gateway_server.problems import InvalidBody
from gateway_server.routes.access import SEARCH_WEIGHT, Audited, SearchId, TheGateway, does
from gateway_server.routes.forms import MODELS
from gateway_server.routes.searches import SHAPE, read_request
from gateway_server.schemas import FeedbackIn, SearchOut
from gateway_server.search_service import SearchRequest

PAGES = "/console/searches"
pages = APIRouter(prefix="/console/search", include_in_schema=False)
router = APIRouter(prefix="/console", include_in_schema=False, route_class=Audited)


@pages.get("")
async def show_search(request: Request, _visitor: OperatorPage) -> Response:
    return render(request, "search/new.html", models=MODELS)


@router.post("/search")
@does("search", weight=SEARCH_WEIGHT)
async def search(post: PagePost) -> Response:
    desk = post.gateway.search_desk
    await desk.check_room()
    async with post.gateway.intake.receive(post.request, SHAPE) as form:
        asked = read_request(form.texts)

        async def ask(subject: Made) -> Given:
            found = await desk.hand_in(form.photos[0], asked, subject, wait=True)
            return made(f"{PAGES}/{found.id}")

        return _go_on(post.request, await post.answer(form.said(), ask))


@router.post("/searches/{search_id}/again")
@does("search", weight=SEARCH_WEIGHT)
async def search_again(search_id: SearchId, post: PagePost) -> Response:
    """The same photo, for another face of it or with the other model."""
    form = await read_form(post.request)
    said = {name: form[name] for name in ("face", "model") if name in form}
    asked = read_request(said)

    async def ask(subject: Made) -> Given:
        found = await _repeat(post.gateway, search_id, asked, subject)
        return made(f"{PAGES}/{found.id}")

    parts = [part for item in said.items() for part in item]
    return _go_on(post.request, await post.answer(parts, ask))


@router.get("/searches/{search_id}")
@does("read")
async def show(
    request: Request, search_id: SearchId, visitor: OperatorPage, gateway: TheGateway
) -> Response:
    template = "search/found.html" if is_fragment(request) else "search/search.html"
    view = await view_search(gateway, search_id, visitor.caller)
    return render(request, template, models=MODELS, **view.values)


@router.post("/searches/{search_id}/judge")
@does("judge")
async def judge(
    request: Request, search_id: SearchId, visitor: OperatorPage, gateway: TheGateway
) -> Response:
    form = await read_form(request)
    said = read_verdict(form)
    reader = gateway.search_reader
    judged = await reader.judge(search_id, said.person_id, said.verdict, visitor.caller)
    if not is_fragment(request):
        return RedirectResponse(f"{PAGES}/{search_id}", HTTPStatus.SEE_OTHER)
    view = await view_search(gateway, search_id, visitor.caller)
    candidate, standing = view.candidate(judged.person_id), view.standings[judged.person_id]
    return render(
        request,
        "search/judgement.html",
        **view.values,
        candidate=candidate,
        standing=standing,
        oob=True,
    )


async def _repeat(
    gateway: Gateway, search_id: str, asked: SearchRequest, subject: Made
) -> SearchOut:
    before = await gateway.search_reader.find(search_id, subject.caller)
    photo = await gateway.search_reader.photo(search_id, subject.caller)
    await gateway.search_desk.check_room()
    spool = gateway.intake.spool()
    try:
        checked = await asyncio.to_thread(gateway.intake.check, spool, [photo.data])
        request = SearchRequest(asked.options, before.case_reference, before.purpose)
        return await gateway.search_desk.hand_in(checked, request, subject, wait=True)
    finally:
        await asyncio.shield(asyncio.to_thread(spool.discard))


def read_verdict(form: Mapping[str, str]) -> FeedbackIn:
    try:
        named = {name: form.get(name, "") for name in ("person_id", "verdict")}
        return FeedbackIn.model_validate(named)
    except ValidationError as error:
        raise InvalidBody("; ".join(one["msg"] for one in error.errors())) from error


def _go_on(request: Request, answer: Response) -> Response:
    """To what was made; a refusal is shown where it is."""
    if answer.status_code != HTTPStatus.CREATED:
        return answer
    address = answer.headers["location"]
    if is_fragment(request):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": address})
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
