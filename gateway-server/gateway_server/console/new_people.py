"""People and photos that come in: each photo is looked at before it is saved, by the browser.

Photos need the pages' script: a form that carries files shows its token as a header.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway_server.console.access import OperatorPage
from gateway_server.console.pages import render
from gateway_server.console.people import address_of
from gateway_server.console.problems import show_kept
from gateway_server.intake import FormShape
from gateway_server.one_time import Given, Made
from gateway_server.person_service import DETAIL_RULES, read_details
from gateway_server.routes.access import (
    NO_KEY,
    SEARCH_WEIGHT,
    Audited,
    IdempotencyKey,
    PersonId,
    Post,
    TheGateway,
    does,
)

ONE_PHOTO = FormShape(texts={})
NOBODY = ""
router = APIRouter(prefix="/console/people", include_in_schema=False, route_class=Audited)
pages = APIRouter(prefix="/console/people", include_in_schema=False)


class _PagePost(Post):
    def show(self, given: Given) -> Response:
        return show_kept(self.request, given)


async def _gather(
    request: Request, visitor: OperatorPage, gateway: TheGateway, key: IdempotencyKey = NO_KEY
) -> Post:
    return _PagePost(request, gateway, visitor.caller, key)


PagePost = Annotated[Post, Depends(_gather)]


@pages.get("/new")
async def show_form(request: Request, _visitor: OperatorPage, gateway: TheGateway) -> Response:
    return render(request, "people/new.html", most_photos=gateway.max_photos_per_request)


@router.post("/check")
@does("check", weight=SEARCH_WEIGHT)
async def check_photo(
    request: Request,
    _visitor: OperatorPage,
    gateway: TheGateway,
    of: Annotated[str, Query(max_length=36)] = NOBODY,
) -> Response:
    """What an enrolment of the photo would meet; nothing is kept. `of`: whose it would be."""
    async with gateway.intake.receive(request, ONE_PHOTO) as form:
        checked = await gateway.photo_check.check(form.photos[0], None)
    others = [one for one in checked.resembling if one.person_id != of]
    owners = [one for one in checked.same_photo if one.person_id != of]
    is_own = any(one.person_id == of for one in checked.same_photo)
    found: dict[str, Any] = {
        "checked": checked,
        "others": others,
        "owners": owners,
        "is_own": is_own,
    }
    return render(request, "people/checked.html", **found)


@router.post("")
@does("create", weight=SEARCH_WEIGHT)
async def register_person(post: PagePost) -> Response:
    gateway = post.gateway
    shape = FormShape(DETAIL_RULES, ("photos",), gateway.max_photos_per_request)
    async with gateway.intake.receive(post.request, shape) as form:
        details = read_details({"name": "", **form.texts})

        async def register(subject: Made) -> Given:
            person = await gateway.persons.register(details, form.photos, subject)
            return made(address_of(person.id, "added"))

        return await post.answer(form.said(), register)


@router.post("/{person_id}/faces")
@does("create", weight=SEARCH_WEIGHT)
async def add_face(person_id: PersonId, post: PagePost) -> Response:
    async with post.gateway.intake.receive(post.request, ONE_PHOTO) as form:

        async def add(subject: Made) -> Given:
            await post.gateway.persons.add_face(person_id, form.photos[0], None, subject)
            return made(address_of(person_id, "photo-added"))

        return await post.answer(form.said(), add)


def made(address: str) -> Given:
    """The script goes there."""
    return Given(HTTPStatus.CREATED, address, {"Location": address}, media_type="text/plain")
