"""The search page: a photo goes in, the most similar people come out, to be judged."""

from fastapi import APIRouter, Request, Response

from gateway_server.console.access import OperatorPage
from gateway_server.console.pages import render

pages = APIRouter(prefix="/console/search", include_in_schema=False)


@pages.get("")
async def show_search(request: Request, _visitor: OperatorPage) -> Response:
    return render(request, "search/new.html")
