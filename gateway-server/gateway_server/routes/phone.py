"""/app: the phone page, and the files it is made of."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway_server.phone.shell import HOME, PAGE, WORKER, Asset, read_shell
from gateway_server.problems import NotFound

OF_A_FILE = {
    "Cache-Control": "no-cache",  # the service worker keeps it; without one, the ETag saves it
    "X-Content-Type-Options": "nosniff",
}
WORKERS_SCOPE = {"Service-Worker-Allowed": HOME.rstrip("/")}
router = APIRouter(prefix="/app", include_in_schema=False)


@router.get("")
async def lead_home() -> Response:
    return RedirectResponse(HOME, status_code=308)


@router.get("/")
async def show_page(request: Request) -> Response:
    return _answer(request, read_shell()[PAGE])


@router.get("/{name:path}")
async def get_asset(request: Request, name: str) -> Response:
    asset = read_shell().get(name)
    if asset is None or name == PAGE:
        raise NotFound
    answer = _answer(request, asset)
    if name == WORKER:
        answer.headers.update(WORKERS_SCOPE)
    return answer


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**OF_A_FILE, "ETag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.data, headers=headers, media_type=asset.media_type)
