"""The people who are looked for: found in a list, looked at one by one, changed, deleted."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway_server.console.access import OperatorPage, read_form
from gateway_server.console.lists import around, cursor_of, filters_of, one_of
from gateway_server.console.pages import is_fragment, render
from gateway_server.person_service import DETAIL_RULES, PeopleWanted, read_details
from gateway_server.problems import (
    FormRefused,
    InvalidParameter,
    PersonNotFound,
    Problem,
    ValueRefused,
)
from gateway_server.routes.access import (
    Audited,
    FaceId,
    PersonId,
    RemovalId,
    TheGateway,
    does,
)
from gateway_server.schemas import PersonOut, PersonStatus, RemovalOut
from gateway_server.texts import fold, parse_moment

PEOPLE_ON_A_PAGE = 50
Photos = Literal["pending", "refused"]
FILTERS = ("q", "status", "photos", "since")
router = APIRouter(prefix="/console/people", include_in_schema=False, route_class=Audited)


@router.get("")
@does("list")
async def list_people(request: Request, _visitor: OperatorPage, gateway: TheGateway) -> Response:
    filters = filters_of(request, FILTERS)
    page = await gateway.persons.list(_wanted(filters), cursor_of(request), PEOPLE_ON_A_PAGE)
    people = [PersonOut.from_row(row) for row in page.rows]
    template = "people/rows.html" if is_fragment(request) else "people/list.html"
    pages = around(request, page.next_cursor)
    return render(request, template, people=people, filters=filters, pages=pages)


def _wanted(filters: Mapping[str, str]) -> PeopleWanted:
    return PeopleWanted(
        q=filters["q"],
        status=cast("PersonStatus | None", one_of(PersonStatus, filters["status"])),
        photos=cast("Photos | None", one_of(Photos, filters["photos"])),
        since=parse_moment("since", filters["since"] or None),
    )


@router.get("/removals/{removal_id}")
@does("read")
async def show_removal(
    request: Request, removal_id: RemovalId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    removal = RemovalOut.from_row(await gateway.removals.get(removal_id))
    template = "people/receipt.html" if is_fragment(request) else "people/removal.html"
    return render(request, template, removal=removal)


@router.get("/{person_id}")
@does("read")
async def show_person(
    request: Request,
    person_id: PersonId,
    _visitor: OperatorPage,
    gateway: TheGateway,
    done: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """`done`: what has just happened, to be said once."""
    try:
        person = await gateway.persons.get(person_id)
    except PersonNotFound as missing:
        return _to_successor(missing)
    template = "people/photos.html" if is_fragment(request) else "people/person.html"
    return show(request, template, person, done=done)


def show(
    request: Request,
    template: str,
    person: PersonOut,
    *,
    done: str = "",
    refused: Problem | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    """`typed`: what the form's fields hold, instead of what is known."""
    known = {name: getattr(person, name) for name in DETAIL_RULES}
    values = {"person": person, "details": typed or known, "done": done, "refused": refused}
    return render(request, template, status=refused.status if refused else HTTPStatus.OK, **values)


def _to_successor(missing: PersonNotFound) -> Response:
    """Where a merged person is looked at; everybody else is not found."""
    if "merged_into" not in missing.facts:
        raise missing
    return RedirectResponse(address_of(str(missing.facts["merged_into"])), HTTPStatus.SEE_OTHER)


def address_of(person_id: str, done: str = "") -> str:
    return f"/console/people/{person_id}" + (f"?done={done}" if done else "")


@router.post("/{person_id}")
@does("change")
async def change_person(
    request: Request, person_id: PersonId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    form = await read_form(request)
    typed = {name: form.get(name, "") for name in DETAIL_RULES}
    try:
        person = await gateway.persons.change(person_id, read_details(typed))
    except (ValueRefused, FormRefused) as refused:
        person = await gateway.persons.get(person_id)
        return show(request, "people/person.html", person, refused=refused, typed=typed)
    return RedirectResponse(address_of(person.id, "changed"), HTTPStatus.SEE_OTHER)


@router.post("/{person_id}/status")
@does("change")
async def set_status(
    request: Request, person_id: PersonId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    wanted = one_of(PersonStatus, (await read_form(request)).get("status", ""))
    if wanted is None:
        raise InvalidParameter("`status` is missing or found")
    await gateway.persons.set_status(person_id, cast("PersonStatus", wanted))
    return RedirectResponse(address_of(person_id, wanted), HTTPStatus.SEE_OTHER)


@router.get("/{person_id}/delete")
@does("read")
async def ask_before_deleting(
    request: Request, person_id: PersonId, _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    person = await gateway.persons.get(person_id)
    return render(request, "people/delete.html", person=person, mistyped=False)


@router.post("/{person_id}/delete")
@does("delete")
async def delete_person(
    request: Request, person_id: PersonId, visitor: OperatorPage, gateway: TheGateway
) -> Response:
    """Whoever types the name has looked at it."""
    person = await gateway.persons.get(person_id)
    if not _is_same(person.name, (await read_form(request)).get("name", "")):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return render(request, "people/delete.html", status=status, person=person, mistyped=True)
    removal = await gateway.persons.delete(person_id, visitor.caller)
    return _to_receipt(removal.id)


@router.post("/{person_id}/faces/{face_id}/delete")
@does("delete")
async def delete_face(
    person_id: PersonId, face_id: FaceId, visitor: OperatorPage, gateway: TheGateway
) -> Response:
    await gateway.persons.delete_face(person_id, face_id, visitor.caller)
    return RedirectResponse(address_of(person_id, "photo-deleted"), HTTPStatus.SEE_OTHER)


def _is_same(name: str, typed: str) -> bool:
    return " ".join(fold(name).split()) == " ".join(fold(typed).split())


def _to_receipt(removal_id: str) -> Response:
    return RedirectResponse(f"/console/people/removals/{removal_id}", HTTPStatus.SEE_OTHER)
