"""/v1/persons: the people who are looked for, and their enrolled faces. For operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from gateway_server.intake import FormShape
from gateway_server.person_service import DETAIL_RULES, read_details
from gateway_server.routes.access import (
    FIRST_PAGE,
    USUAL_LIMIT,
    FaceId,
    Operator,
    PageCursor,
    PageLimit,
    PersonId,
    TheGateway,
    json_of,
    read_json,
    refusals,
)
from gateway_server.routes.forms import DAY, FACE, PHOTO, form_of, read_face_index, text_of
from gateway_server.schemas import FaceOut, PersonChange, PersonEnrolled, PersonOut, PersonPage
from gateway_server.texts import LINE, NOTES, OPTION

PERSON_FORM = form_of(
    required=["name", "photos[]"],
    name=text_of(LINE.max_characters),
    reference=text_of(LINE.max_characters),
    birth_date=DAY,
    missing_since=DAY,
    notes=text_of(NOTES.max_characters),
    **{"photos[]": {"type": "array", "items": PHOTO, "minItems": 1}},
)
FACE_SHAPE = FormShape(texts={"face": OPTION})
FACE_FORM = form_of(required=["photo"], photo=PHOTO, face=FACE)
router = APIRouter(prefix="/v1/persons", tags=["persons"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=refusals(400, 413, 415),
    openapi_extra=PERSON_FORM,
)
async def register_person(
    request: Request, response: Response, _caller: Operator, gateway: TheGateway
) -> PersonEnrolled:
    shape = FormShape(DETAIL_RULES, ("photos[]", "photos"), gateway.max_photos_per_request)
    async with gateway.intake.receive(request, shape) as form:
        details = read_details({"name": "", **form.texts})
        person = await gateway.persons.register(details, form.photos)
    response.headers["Location"] = f"/v1/persons/{person.id}"
    return person


@router.get("", responses=refusals())
async def list_persons(
    _caller: Operator,
    gateway: TheGateway,
    q: Annotated[str | None, Query(description="a part of the name or the reference")] = None,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> PersonPage:
    page = await gateway.persons.list(q, cursor, limit)
    persons = [PersonOut.from_row(row) for row in page.rows]
    return PersonPage(persons=persons, next_cursor=page.next_cursor)


@router.get("/{person_id}", responses=refusals(404))
async def get_person(person_id: PersonId, _caller: Operator, gateway: TheGateway) -> PersonOut:
    return await gateway.persons.get(person_id)


@router.patch(
    "/{person_id}", responses=refusals(400, 404, 413, 415), openapi_extra=json_of(PersonChange)
)
async def change_person(
    person_id: PersonId, request: Request, _caller: Operator, gateway: TheGateway
) -> PersonOut:
    change = await read_json(request, PersonChange)
    details = read_details(change.model_dump(exclude_unset=True))
    return await gateway.persons.change(person_id, details)


@router.delete("/{person_id}", status_code=status.HTTP_204_NO_CONTENT, responses=refusals(404))
async def delete_person(person_id: PersonId, _caller: Operator, gateway: TheGateway) -> None:
    await gateway.persons.delete(person_id)


@router.post(
    "/{person_id}/faces",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"description": "this photo was enrolled before"},
        **refusals(400, 404, 413, 415),
    },
    openapi_extra=FACE_FORM,
)
async def add_face(
    person_id: PersonId,
    request: Request,
    response: Response,
    _caller: Operator,
    gateway: TheGateway,
) -> FaceOut:
    async with gateway.intake.receive(request, FACE_SHAPE) as form:
        index = read_face_index(form.texts.get("face"))
        face, is_new = await gateway.persons.add_face(person_id, form.photos[0], index)
    response.headers["Location"] = f"/v1/persons/{person_id}/faces/{face.face_id}"
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return face


@router.delete(
    "/{person_id}/faces/{face_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(404),
)
async def delete_face(
    person_id: PersonId, face_id: FaceId, _caller: Operator, gateway: TheGateway
) -> None:
    await gateway.persons.delete_face(person_id, face_id)
