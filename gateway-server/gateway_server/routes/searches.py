"""/v1/searches: a photo goes in, the most similar people come out."""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response, status

from gateway_server.intake import FormShape
from gateway_server.routes.access import (
    AnyCaller,
    SearchId,
    TheGateway,
    json_of,
    read_json,
    refusals,
)
from gateway_server.routes.forms import (
    FACE,
    MODEL,
    PHOTO,
    TOP_K,
    form_of,
    image_answer,
    read_face_index,
    read_model,
    read_top_k,
    text_of,
)
from gateway_server.schemas import FeedbackIn, FeedbackOut, SearchOut
from gateway_server.search_service import MatchOptions, SearchRequest
from gateway_server.texts import LINE, OPTION

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
    photo=PHOTO,
    top_k=TOP_K,
    model=MODEL,
    face=FACE,
    case_reference=text_of(LINE.max_characters),
    purpose=text_of(LINE.max_characters),
)
router = APIRouter(prefix="/v1/searches", tags=["searches"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=SearchOut,
    response_model_exclude_unset=True,
    responses=refusals(400, 413, 415),
    openapi_extra=FORM,
)
async def create_search(
    request: Request, response: Response, caller: AnyCaller, gateway: TheGateway
) -> SearchOut:
    async with gateway.intake.receive(request, SHAPE) as form:
        asked = _read_request(form.texts)
        search = await gateway.searches.accept(form.photos[0], asked, caller)
    response.headers["Location"] = f"/v1/searches/{search.id}"
    await gateway.searches.run(search)
    return await gateway.search_reader.get(search.id, caller)


@router.get(
    "/{search_id}",
    response_model=SearchOut,
    response_model_exclude_unset=True,
    responses=refusals(404),
)
async def get_search(search_id: SearchId, caller: AnyCaller, gateway: TheGateway) -> SearchOut:
    return await gateway.search_reader.get(search_id, caller)


@router.get("/{search_id}/photo", response_class=Response, responses=refusals(404))
async def get_photo(search_id: SearchId, caller: AnyCaller, gateway: TheGateway) -> Response:
    photo = await gateway.search_reader.photo(search_id, caller)
    return image_answer(photo.data, photo.media_type)


@router.get("/{search_id}/heatmap", response_class=Response, responses=refusals(404, 409))
async def get_heatmap(search_id: SearchId, caller: AnyCaller, gateway: TheGateway) -> Response:
    return image_answer(await gateway.search_reader.heatmap(search_id, caller), "image/png")


@router.get(
    "/{search_id}/candidates/{person_id}/heatmap",
    response_class=Response,
    responses=refusals(404, 409),
)
async def get_candidate_heatmap(
    search_id: SearchId, person_id: str, caller: AnyCaller, gateway: TheGateway
) -> Response:
    png = await gateway.search_reader.candidate_heatmap(search_id, person_id, caller)
    return image_answer(png, "image/png")


@router.post(
    "/{search_id}/feedback",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"description": "an earlier verdict was changed"},
        **refusals(400, 404, 409, 413, 415),
    },
    openapi_extra=json_of(FeedbackIn),
)
async def judge_candidate(
    search_id: SearchId,
    request: Request,
    response: Response,
    caller: AnyCaller,
    gateway: TheGateway,
) -> FeedbackOut:
    said = await read_json(request, FeedbackIn)
    is_new = await gateway.search_reader.judge(search_id, said.person_id, said.verdict, caller)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return FeedbackOut(search_id=search_id, person_id=said.person_id, verdict=said.verdict)


def _read_request(texts: Mapping[str, str]) -> SearchRequest:
    options = MatchOptions(
        top_k=read_top_k(texts.get("top_k")),
        model=read_model(texts.get("model")),
        face=read_face_index(texts.get("face")),
    )
    return SearchRequest(options, texts.get("case_reference") or None, texts.get("purpose") or None)
