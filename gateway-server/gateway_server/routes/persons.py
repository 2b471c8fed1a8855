"""/v1/persons: the people who are looked for, and their enrolled faces. For operators."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import status as http

from gateway_server.intake import FormShape
from gateway_server.one_time import Given, Made
from gateway_server.person_service import DETAIL_RULES, PeopleWanted, read_details
from gateway_server.problems import PersonNotFound
from gateway_server.routes.access import (
    BODY,
    EVER,
    FIRST_PAGE,
    LOCATION,
    SEARCH_WEIGHT,
    USUAL_LIMIT,
    Audited,
    FaceId,
    Operator,
    OperatorPost,
    PageCursor,
    PageLimit,
    PersonId,
    Since,
    TheGateway,
    does,
    given,
    json_of,
    read_json,
    refusals,
)
from gateway_server.routes.forms import (
    FACE,
    PHOTO,
    PHOTO_ANSWER,
    PHOTO_TYPES,
    PhotoSize,
    form_of,
    photo_answer,
    read_face_index,
)
from gateway_server.schemas import (
    FaceOut,
    MergeIn,
    PersonChange,
    PersonEnrolled,
    PersonMerged,
    PersonOut,
    PersonPage,
    PersonStatus,
    RemovalOut,
)
from gateway_server.tables import Removal, is_id
from gateway_server.texts import DAY, LINE, NAME, NOTES, OPTION, parse_moment

PERSON_FORM = form_of(
    required=["name", "photos[]"],
    files={"photos[]": PHOTO_TYPES},
    name=NAME,
    reference=LINE.schema(),
    birth_date=DAY,
    missing_since=DAY,
    notes=NOTES.schema(),
    **{"photos[]": {"type": "array", "items": PHOTO, "minItems": 1}},
)
FACE_SHAPE = FormShape(texts={"face": OPTION})
FACE_FORM = form_of(required=["photo"], files={"photo": PHOTO_TYPES}, photo=PHOTO, face=FACE)
REMOVAL: dict[int | str, dict[str, Any]] = {
    200: LOCATION,
    202: {
        "model": RemovalOut,
        "description": "gone here; the receipt's other times will come",
        **LOCATION,
    },
    **refusals(404),
}
router = APIRouter(prefix="/v1/persons", tags=["persons"], route_class=Audited)


@router.post(
    "",
    status_code=http.HTTP_201_CREATED,
    response_model=PersonEnrolled,
    responses={
        201: LOCATION,
        202: {
            "model": PersonEnrolled,
            "description": "kept; no photo is enrolled yet",
            **LOCATION,
        },
        **refusals(*BODY, 409),
    },
    openapi_extra=PERSON_FORM,
)
@does("create", weight=SEARCH_WEIGHT)
async def register_person(post: OperatorPost) -> Response:
    gateway = post.gateway
    shape = FormShape(DETAIL_RULES, ("photos[]", "photos"), gateway.max_photos_per_request)
    async with gateway.intake.receive(post.request, shape) as form:
        details = read_details({"name": "", **form.texts})

        async def register(made: Made) -> Given:
            person = await gateway.persons.register(details, form.photos, made)
            is_enrolled = any(photo.status == "enrolled" for photo in person.photos)
            created = http.HTTP_201_CREATED if is_enrolled else http.HTTP_202_ACCEPTED
            return given(person, created, Location=f"/v1/persons/{person.id}")

        return await post.answer(form.said(), register)


@router.get("", responses=refusals(400))
@does("list")
async def list_persons(
    _caller: Operator,
    gateway: TheGateway,
    q: Annotated[
        str | None,
        Query(max_length=LINE.max_characters, description="a part of the name or the reference"),
    ] = None,
    status: Annotated[PersonStatus | None, Query()] = None,
    photos: Annotated[
        Literal["pending", "refused"] | None,
        Query(description="of whom a photo is still pending, or was refused"),
    ] = None,
    since: Since = EVER,
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> PersonPage:
    """Newest first; `since`: registered from then on."""
    wanted = PeopleWanted(q, status, photos, parse_moment("since", since))
    page = await gateway.persons.list(wanted, cursor, limit)
    persons = [PersonOut.from_row(row) for row in page.rows]
    return PersonPage(persons=persons, next_cursor=page.next_cursor)


@router.get("/{person_id}", responses=refusals(404))
@does("read")
async def get_person(person_id: PersonId, _caller: Operator, gateway: TheGateway) -> PersonOut:
    return await gateway.persons.get(person_id)


@router.patch("/{person_id}", responses=refusals(*BODY, 404), openapi_extra=json_of(PersonChange))
@does("change")
async def change_person(
    person_id: PersonId, request: Request, _caller: Operator, gateway: TheGateway
) -> PersonOut:
    change = await read_json(request, PersonChange)
    details = read_details(change.model_dump(exclude_unset=True, exclude={"status"}))
    person = await gateway.persons.change(person_id, details)
    if change.status is None or change.status == person.status:
        return person
    return await gateway.persons.set_status(person_id, change.status)


@router.delete("/{person_id}", response_model=RemovalOut, responses=REMOVAL)
@does("delete")
async def delete_person(person_id: PersonId, caller: Operator, gateway: TheGateway) -> Response:
    return _receipt(await gateway.persons.delete(person_id, caller))


@router.post(
    "/{person_id}/merge",
    response_model=PersonMerged,
    responses={
        202: {
            "model": PersonMerged,
            "description": "merged here; the inference tier follows, and finds them meanwhile",
        },
        **refusals(*BODY, 404, 409),
    },
    openapi_extra=json_of(MergeIn),
)
@does("merge")
async def merge_person(person_id: PersonId, post: OperatorPost) -> Response:
    """The other's record goes: its faces, verdicts and candidates are this person's from now on.

    Details that are missing here are taken over. The other's address is then a 404 that names this
    person as `merged_into`. Repeated, it changes nothing.
    """
    said = await read_json(post.request, MergeIn)
    if not is_id(said.other):
        raise PersonNotFound

    async def merge(_made: Made) -> Given:
        merged = await post.gateway.persons.merge(person_id, said.other, post.caller)
        done = merged.removal is None or merged.removal.status == "deleted"
        return given(merged, http.HTTP_200_OK if done else http.HTTP_202_ACCEPTED)

    return await post.answer([said.other], merge)


@router.get(
    "/{person_id}/faces/{face_id}/photo",
    response_class=Response,
    responses={200: PHOTO_ANSWER, **refusals(404)},
)
@does("photo")
async def get_face_photo(
    person_id: PersonId,
    face_id: FaceId,
    _caller: Operator,
    gateway: TheGateway,
    size: PhotoSize = "full",
) -> Response:
    face = await gateway.persons.get_face(person_id, face_id)
    if size == "full":
        photo = await gateway.photo_archive.read(face.photo_sha256)
    else:
        photo = await gateway.thumbnails.of(face.photo_sha256, face.face_index)
    return photo_answer(photo, size)


@router.post(
    "/{person_id}/faces",
    status_code=http.HTTP_201_CREATED,
    response_model=FaceOut,
    responses={
        200: {"model": FaceOut, "description": "this photo was enrolled before", **LOCATION},
        201: LOCATION,
        202: {"model": FaceOut, "description": "kept, and not enrolled yet", **LOCATION},
        **refusals(*BODY, 404, 409),
    },
    openapi_extra=FACE_FORM,
)
@does("create", weight=SEARCH_WEIGHT)
async def add_face(person_id: PersonId, post: OperatorPost) -> Response:
    gateway = post.gateway
    async with gateway.intake.receive(post.request, FACE_SHAPE) as form:
        index = read_face_index(form.texts.get("face"))

        async def add(made: Made) -> Given:
            face, is_new = await gateway.persons.add_face(person_id, form.photos[0], index, made)
            location = f"/v1/persons/{person_id}/faces/{face.face_id}"
            if face.status == "pending":
                return given(face, http.HTTP_202_ACCEPTED, Location=location)
            created = http.HTTP_201_CREATED if is_new else http.HTTP_200_OK
            return given(face, created, Location=location)

        return await post.answer(form.said(), add)


@router.delete("/{person_id}/faces/{face_id}", response_model=RemovalOut, responses=REMOVAL)
@does("delete")
async def delete_face(
    person_id: PersonId, face_id: FaceId, caller: Operator, gateway: TheGateway
) -> Response:
    return _receipt(await gateway.persons.delete_face(person_id, face_id, caller))


def _receipt(removal: Removal) -> Response:
    receipt = RemovalOut.from_row(removal)
    done = receipt.status == "deleted"
    return Response(
        receipt.model_dump_json(),
        http.HTTP_200_OK if done else http.HTTP_202_ACCEPTED,
        {"Location": f"/v1/removals/{removal.id}"},
        media_type="application/json",
    )
