"""A browser without a window: it keeps cookies, says where it comes from, and knows its token."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import httpx

from gateway_server.auth import Role
from tests.gateway_server.conftest import Running

TOKEN = re.compile(r'name="csrf-token" content="([^"]*)"')
FIELD = re.compile(r'name="csrf_token" value="([^"]*)"')
AS_A_BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


class Browser:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.csrf_token = ""

    async def open(self, address: str, **how: Any) -> httpx.Response:
        return await self.client.get(address, **how)

    async def send(self, address: str, **fields: str) -> httpx.Response:
        """A form of ours, as the button below it sends it."""
        return await self.client.post(address, data={"csrf_token": self.csrf_token, **fields})

    async def sign_in(self, key: str, **fields: str) -> httpx.Response:
        page = await self.open("/console/sign-in")
        shown = unescape(FIELD.findall(page.text)[0])
        form = {"csrf_token": shown, "key": key, **fields}
        answer = await self.client.post("/console/sign-in", data=form)
        if "reunite_session" in self.client.cookies:
            told = await self.client.get("/console/session", headers={"Accept": "application/json"})
            self.csrf_token = told.json()["csrf_token"]
        return answer


@asynccontextmanager
async def browser_at(running: Running, role: Role | None = None) -> AsyncIterator[Browser]:
    """`role`: whose key has signed in; nobody's without."""
    async with running.client(None) as client:
        client.headers.update(AS_A_BROWSER)
        browser = Browser(client)
        if role is not None:
            answer = await browser.sign_in(running.keys[role])
            assert answer.status_code == 303, answer.text
        yield browser


async def assert_for_operators_alone(
    running: Running, stranger: Browser, desk: Browser, method: str, address: str
) -> None:
    """Strangers sign in first, phones are refused, and a change needs the session's token."""
    answer = await stranger.client.request(method, address)
    assert (answer.status_code, "/console/sign-in" in answer.headers["location"]) == (303, True)
    async with browser_at(running, "mobile") as phone:
        headers = {"X-CSRF-Token": phone.csrf_token}
        answer = await phone.client.request(method, address, headers=headers)
        assert answer.status_code == 403
    if method == "POST":
        assert (await desk.client.request(method, address)).status_code == 403
