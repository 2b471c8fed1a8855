"""The phone page as somebody uses it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.pictures import Payload
from tests.browser.visitor import Visitor

LOOKED_AT_MS = 60_000
READY = "html[data-ready=yes]"
_PHOTOS = """async () => (await (await import('/app/store.js')).Store.open()).photos()
    .then(photos => photos.map(({blob, ...photo}) => photo))"""


class Phone:
    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor

    @property
    def page(self) -> Page:
        return self.visitor.page

    def open(self) -> None:
        self.page.goto("/app/")
        self.page.wait_for_selector(READY)

    def open_again(self) -> None:
        """As after the page was closed: nothing but the device's own storage is left."""
        self.page.close()
        self.visitor.open_page()
        self.open()

    def sign_in(self, key: str) -> None:
        self.open()
        self.page.fill("#key", key)
        self.page.click("#sign-in button")
        expect(self.page.locator("#view-home")).to_be_visible()

    def add(self, *photos: Path | Payload) -> None:
        """Picked, and looked at by the phone."""
        files = [one if isinstance(one, dict) else as_payload(one) for one in photos]
        self.page.set_input_files("#pick", files)
        expect(self.drafts).to_have_count(len(photos))
        expect(self.page.locator("#draft-list .quiet")).to_have_count(0, timeout=LOOKED_AT_MS)

    def send(self) -> None:
        self.page.click("#send")

    def answer_searches(self, answer: Callable[[Route], None]) -> None:
        """In the gateway's place; by the page, since a worker that sends is not overheard."""
        self.page.evaluate("SyncManager.prototype.register = async () => {}")
        self.page.route("**/v1/searches", answer)

    @property
    def drafts(self) -> Locator:
        return self.page.locator("#draft-list > li")

    @property
    def sent(self) -> Locator:
        return self.page.locator("#sent-list > li")

    def photos(self) -> Sequence[dict[str, Any]]:
        """What the device remembers of each photo, but for the picture, in order."""
        photos: list[dict[str, Any]] = self.page.evaluate(_PHOTOS)
        return photos


def as_payload(photo: Path) -> Payload:
    return {"name": photo.name, "mimeType": "image/webp", "buffer": photo.read_bytes()}
