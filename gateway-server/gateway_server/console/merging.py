"""Two records of one person: the other is chosen, both are shown, then they are one."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway_server.console.access import OperatorPage
from gateway_server.console.lists import filters_of
from gateway_server.console.pages import is_fragment, render
from gateway_server.console.people import address_of
from gateway_server.merges import TAKEN_OVER
from gateway_server.person_service import PeopleWanted
from gateway_server.routes.access import SEARCH_WEIGHT, Audited, PersonId, TheGateway, does
from gateway_server.schemas import PersonOut

CHOICES = 12
router = APIRouter(prefix="/console/people", include_in_schema=False, route_class=Audited)


@router.get("/{person_id}/merge")
@does("list")
async def choose_other(
    request: Request, person_id: PersonId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    person = await gateway.persons.get(person_id)
    filters = filters_of(request, ("q",))
    page = await gateway.persons.list(PeopleWanted(q=filters["q"]), None, CHOICES + 1)
    others = [PersonOut.from_row(row) for row in page.rows if row.id != person_id][:CHOICES]
    template = "people/choices.html" if is_fragment(request) else "people/merge.html"
    return render(request, template, person=person, others=others, filters=filters)


@router.get("/{person_id}/duplicates")
@does("check", weight=SEARCH_WEIGHT)
async def show_duplicates(
    request: Request, person_id: PersonId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    """A part of the page above, which comes when the inference tier has looked."""
    person = await gateway.persons.get(person_id)
    found = await gateway.photo_check.duplicates_of(person_id)
    return render(request, "people/duplicates.html", person=person, found=found)


@router.get("/{person_id}/merge/{other_id}")
@does("read")
async def ask_before_merging(
    request: Request,
    person_id: PersonId,
    other_id: PersonId,
    _visitor: OperatorPage,
    gateway: TheGateway,
) -> Response:
    kept, other = await gateway.persons.get(person_id), await gateway.persons.get(other_id)
    taken = [name for name in TAKEN_OVER if getattr(kept, name) is None and getattr(other, name)]
    return render(request, "people/merge_both.html", kept=kept, other=other, taken=taken)


@router.post("/{person_id}/merge/{other_id}")
@does("merge")
async def merge_people(
    person_id: PersonId, other_id: PersonId, visitor: OperatorPage, gateway: TheGateway
) -> Response:
    await gateway.persons.merge(person_id, other_id, visitor.caller)
    return RedirectResponse(address_of(person_id, "merged"), HTTPStatus.SEE_OTHER)
