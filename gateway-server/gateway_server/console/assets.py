"""Scripts, styles and pictures of the pages: kept for a year under the address of their content."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PREFIX: Final = "/console/static"
FOR_A_YEAR = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


class Assets(StaticFiles):
    def __init__(self) -> None:
        super().__init__(packages=[("gateway_server.console", "static")])

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        is_versioned = scope["query_string"] == f"v={_digest(path)}".encode()
        response.headers["Cache-Control"] = FOR_A_YEAR if is_versioned else ASK_AGAIN
        return response


def address_of(name: str) -> str:
    """Of a file in `static`; it changes with the content."""
    return f"{PREFIX}/{name}?v={_digest(name)}"


@cache
def _digest(name: str) -> str:
    content = (files("gateway_server.console") / "static" / name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]
