"""/docs: the contract to read and to try, by Swagger UI; nothing of it comes from another host."""

from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse

from gateway_server.problems import NotFound

_UI = files("fastapi_offline") / "static"  # Swagger UI 5 (Apache-2.0)
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reunite</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", validatorUrl: null});\n'
FROM_HERE_ALONE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
router = APIRouter(prefix="/docs", include_in_schema=False)


@router.get("")
async def show_documentation() -> HTMLResponse:
    return HTMLResponse(PAGE, headers=FROM_HERE_ALONE)


@router.get("/start.js")
async def start_documentation() -> Response:
    return Response(START, media_type="text/javascript")


@router.get("/{asset}")
async def get_asset(asset: str) -> FileResponse:
    if asset not in ASSETS:
        raise NotFound
    return FileResponse(str(_UI / asset), media_type=ASSETS[asset])
