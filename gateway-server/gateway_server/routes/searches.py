"""/v1/searches: a photo goes in, the most similar people come out."""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi import status as http
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway_server.inference_answers import ModelName, Verdict
from gateway_server.intake import FormShape
from gateway_server.one_time import Given, Made, Once
from gateway_server.routes.access import (
    BODY,
    EVER,
    FIRST_PAGE,
    HEATMAP_WEIGHT,
    LOCATION,
    SEARCH_WEIGHT,
    USUAL_LIMIT,
    AnyCaller,
    AnyPost,
    Audited,
    Operator,
    PageCursor,
    PageLimit,
    SearchId,
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
    HEATMAP_ANSWER,
    MODEL,
    PHOTO,
    PHOTO_ANSWER,
    PHOTO_TYPES,
    TOP_K,
    PhotoSize,
    form_of,
    image_answer,
    photo_answer,
    read_face_index,
    read_model,
    read_top_k,
)
from gateway_server.schemas import FeedbackIn, FeedbackOut, SearchOut, SearchPage, Status
from gateway_server.search_history import SearchesWanted
from gateway_server.search_service import MatchOptions, SearchRequest
from gateway_server.texts import LINE, OPTION, parse_moment

SHAPE = FormShape(
    texts={
        "top_k": OPTION,
        "model": OPTION,
        "face": OPTION,
        "case_reference": LINE,
        "purpose": LINE,
    }
)
FORM = form_of(
    required=["photo"],
    files={"photo": PHOTO_TYPES},
    photo=PHOTO,
    top_k=TOP_K,
    model=MODEL,
    face=FACE,
    case_reference=LINE.schema(),
    purpose=LINE.schema(),
)
RETRY_AFTER_S = "1"
router = APIRouter(prefix="/v1/searches", tags=["searches"], route_class=Audited)


@router.post(
    "",
    status_code=http.HTTP_201_CREATED,
    response_model=SearchOut,
    response_model_exclude_unset=True,
    responses={
        201: LOCATION,
        202: {
            "model": SearchOut,
            "description": "the photo is safe; the answer comes later",
            **LOCATION,
        },
        **refusals(*BODY, 409),
    },
    openapi_extra=FORM,
)
@does("search", weight=SEARCH_WEIGHT)
async def create_search(
    post: AnyPost,
    prefer: Annotated[
        str | None, Header(description="`respond-async`: do not wait for the answer (RFC 7240)")
    ] = None,
) -> Response:
    desk = post.gateway.search_desk
    await desk.check_room()
    wait = not _prefers_async(prefer)
    async with post.gateway.intake.receive(post.request, SHAPE) as form:
        asked = read_request(form.texts)

        async def search(made: Made) -> Given:
            return _given(await desk.hand_in(form.photos[0], asked, made, wait=wait), wait=wait)

        async def recall(made: Made, once: Once | None) -> Given | None:
            return await desk.recall(form.photos[0], asked, made, once, partial(_given, wait=True))

        return await post.answer(form.said(), search, recall if wait else None)


async def _read_filter(
    status: Annotated[Status | None, Query()] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
    model: Annotated[ModelName | None, Query()] = None,
    case_reference: Annotated[
        str | None, Query(max_length=LINE.max_characters, description="a part of it")
    ] = None,
    since: Since = EVER,
) -> SearchesWanted:
    return SearchesWanted(status, verdict, model, case_reference, parse_moment("since", since))


@router.get("", responses=refusals(400))
@does("list")
async def list_searches(
    _caller: Operator,
    gateway: TheGateway,
    wanted: Annotated[SearchesWanted, Depends(_read_filter)],
    cursor: PageCursor = FIRST_PAGE,
    limit: PageLimit = USUAL_LIMIT,
) -> SearchPage:
    """Everybody's, newest first. For operators."""
    return await gateway.search_history.list(wanted, cursor, limit)


async def _must_be_visible(search_id: SearchId, caller: AnyCaller, gateway: TheGateway) -> None:
    """Refused before a stream of events has begun: it could not be refused any more."""
    await gateway.search_reader.get(search_id, caller)


@router.get(
    "/{search_id}/events",
    response_class=EventSourceResponse,
    responses=refusals(404),
    dependencies=[Depends(_must_be_visible)],
)
@does("read")
async def watch_search(
    search_id: SearchId, caller: AnyCaller, gateway: TheGateway
) -> AsyncIterator[ServerSentEvent]:
    """The search whenever its status has changed, until it has ended (Server-Sent Events)."""
    async for search in gateway.search_desk.watch(search_id, caller):
        yield ServerSentEvent(
            data=search.model_dump(mode="json", exclude_unset=True), event=search.status
        )


@router.get(
    "/{search_id}",
    response_model=SearchOut,
    response_model_exclude_unset=True,
    responses=refusals(404),
)
@does("read")
async def get_search(search_id: SearchId, caller: AnyCaller, gateway: TheGateway) -> SearchOut:
    return await gateway.search_reader.get(search_id, caller)


@router.get(
    "/{search_id}/photo",
    response_class=Response,
    responses={200: PHOTO_ANSWER, **refusals(404)},
)
@does("photo")
async def get_photo(
    search_id: SearchId, caller: AnyCaller, gateway: TheGateway, size: PhotoSize = "full"
) -> Response:
    reader = gateway.search_reader
    read = reader.photo if size == "full" else reader.thumbnail
    photo = await read(search_id, caller)
    return photo_answer(photo, size)


@router.get(
    "/{search_id}/heatmap",
    response_class=Response,
    responses={200: HEATMAP_ANSWER, **refusals(404, 409)},
)
@does("heatmap", weight=HEATMAP_WEIGHT)
async def get_heatmap(search_id: SearchId, caller: AnyCaller, gateway: TheGateway) -> Response:
    return image_answer(await gateway.search_reader.heatmap(search_id, caller), "image/png")


@router.get(
    "/{search_id}/candidates/{person_id}/photo",
    response_class=Response,
    responses={200: PHOTO_ANSWER, **refusals(404, 409)},
)
@does("photo")
async def get_candidate_photo(
    search_id: SearchId,
    person_id: str,
    caller: AnyCaller,
    gateway: TheGateway,
    size: PhotoSize = "full",
) -> Response:
    """The photo of the face that matched."""
    reader = gateway.search_reader
    read = reader.candidate_photo if size == "full" else reader.candidate_thumbnail
    photo = await read(search_id, person_id, caller)
    return image_answer(photo.data, photo.media_type)


@router.get(
    "/{search_id}/candidates/{person_id}/heatmap",
    response_class=Response,
    responses={200: HEATMAP_ANSWER, **refusals(404, 409)},
)
@does("heatmap", weight=HEATMAP_WEIGHT)
async def get_candidate_heatmap(
    search_id: SearchId, person_id: str, caller: AnyCaller, gateway: TheGateway
) -> Response:
    png = await gateway.search_reader.candidate_heatmap(search_id, person_id, caller)
    return image_answer(png, "image/png")


@router.post(
    "/{search_id}/feedback",
    status_code=http.HTTP_201_CREATED,
    responses={
        200: {"description": "an earlier verdict was changed"},
        **refusals(*BODY, 404, 409),
    },
    openapi_extra=json_of(FeedbackIn),
)
@does("judge")
async def judge_candidate(search_id: SearchId, post: AnyPost) -> Response:
    said = await read_json(post.request, FeedbackIn)

    async def judge(_made: Made) -> Given:
        reader = post.gateway.search_reader
        judged = await reader.judge(search_id, said.person_id, said.verdict, post.caller)
        kept = FeedbackOut(search_id=search_id, person_id=judged.person_id, verdict=said.verdict)
        return given(kept, http.HTTP_201_CREATED if judged.is_first else http.HTTP_200_OK)

    return await post.answer([said.model_dump_json()], judge)


def _prefers_async(prefer: str | None) -> bool:
    wishes = (prefer or "").replace(";", ",").split(",")
    return "respond-async" in {wish.strip().lower() for wish in wishes}


def _given(search: SearchOut, *, wait: bool) -> Given:
    headers = {"Location": f"/v1/searches/{search.id}"}
    if not wait:
        headers["Preference_Applied"] = "respond-async"
    if search.status in {"done", "failed"}:
        return given(search, http.HTTP_201_CREATED, sparse=True, **headers)
    headers["Retry_After"] = RETRY_AFTER_S
    return given(search, http.HTTP_202_ACCEPTED, sparse=True, **headers)


def read_request(texts: Mapping[str, str]) -> SearchRequest:
    options = MatchOptions(
        top_k=read_top_k(texts.get("top_k")),
        model=read_model(texts.get("model")),
        face=read_face_index(texts.get("face")),
    )
    return SearchRequest(options, texts.get("case_reference") or None, texts.get("purpose") or None)
