"""/v1/photos: a photo looked at before anything is made of it. For operators."""

from fastapi import APIRouter, Request

from gateway_server.intake import FormShape
from gateway_server.routes.access import (
    BODY,
    SEARCH_WEIGHT,
    Audited,
    Operator,
    TheGateway,
    does,
    refusals,
)
from gateway_server.routes.forms import FACE, PHOTO, PHOTO_TYPES, form_of, read_face_index
from gateway_server.schemas import PhotoChecked
from gateway_server.texts import OPTION

SHAPE = FormShape(texts={"face": OPTION})
FORM = form_of(required=["photo"], files={"photo": PHOTO_TYPES}, photo=PHOTO, face=FACE)
router = APIRouter(prefix="/v1/photos", tags=["persons"], route_class=Audited)


@router.post("/check", responses=refusals(*BODY), openapi_extra=FORM)
@does("check", weight=SEARCH_WEIGHT)
async def check_photo(request: Request, _caller: Operator, gateway: TheGateway) -> PhotoChecked:
    """Would it be enrolled, and whom does it show already? Nothing is kept, so nothing is repeated.

    The audit alone has a row, with the photo's sha256.
    """
    async with gateway.intake.receive(request, SHAPE) as form:
        index = read_face_index(form.texts.get("face"))
        return await gateway.photo_check.check(form.photos[0], index)
