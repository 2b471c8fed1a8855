"""The console as somebody uses it, with every click counted."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page

from tests.browser.visitor import Visitor

ROW_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")
_LINKS = "links => links.map(link => link.href)"
_NOT_PAGES = re.compile(r"/console/(preferences|static|sign-in|sign-out|model/plots)")


class Desk:
    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.clicks = 0

    @property
    def page(self) -> Page:
        return self.visitor.page

    def sign_in(self, key: str) -> None:
        self.page.goto("/console/sign-in")
        self.page.fill("input[name=key]", key)
        self.click(self.page.locator("main button[type=submit]"))
        self.page.wait_for_url(re.compile(r"/(app|console/(?!sign-in))"))

    def click(self, target: Locator) -> None:
        self.clicks += 1
        target.click()

    def print(self) -> bytes:
        """The page as PDF: the browser's own print, which counts as a click."""
        self.clicks += 1
        return self.page.pdf(prefer_css_page_size=True)

    def links(self) -> Iterator[str]:
        """Of the console, from this page, without what they ask for."""
        for address in self.page.locator("a[href]").evaluate_all(_LINKS):
            parts = urlsplit(address)
            if parts.path.startswith("/console/") and not _NOT_PAGES.match(parts.path):
                yield parts.path + (f"?{parts.query}" if parts.query else "")


def kind_of(path: str) -> str:
    """Pages that differ in ids and values alone are of one kind."""
    place, _, query = path.partition("?")
    names = sorted({part.partition("=")[0] for part in query.split("&") if part})
    return ROW_ID.sub("{id}", place) + ("?" + "&".join(names) if names else "")
