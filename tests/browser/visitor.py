"""One person at a browser of their own: pages, what the console complained of, screenshots."""

import re
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 860}
WITHIN_MS = 60_000
SIGNED_OUT = re.compile("/console/session: .*401")  # pages ask it to learn who is there


class Visitor:
    def __init__(
        self,
        browser: Browser,
        url: str,
        folder: Path,
        *,
        phone: bool = False,
        language: str = "en-GB",
        dark: bool = False,
    ) -> None:
        self.url = url
        self.complaints: list[str] = []
        self._folder = folder
        self._excused = [SIGNED_OUT]
        self._taken = 0
        self.context = browser.new_context(
            base_url=url,
            viewport=PHONE if phone else DESK,
            device_scale_factor=2 if phone else 1,
            is_mobile=phone,
            has_touch=phone,
            locale=language,
            color_scheme="dark" if dark else "light",
        )
        self.context.set_default_timeout(WITHIN_MS)
        self.page = self.open_page()

    def open_page(self) -> Page:
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        self.page = page
        return page

    def excuse(self, *patterns: str) -> None:
        """Complaints that a test is there to bring about."""
        self._excused += [re.compile(pattern) for pattern in patterns]
        self.complaints = [line for line in self.complaints if not self._is_excused(line)]

    def shoot(self, name: str, *, whole: bool = True) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._taken:02d}-{name}.png"
        self._taken += 1
        self.page.screenshot(path=path, full_page=whole)
        return path

    def leave(self) -> None:
        self.context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            line = f"{message.location.get('url', '')}: {message.text}"
            if not self._is_excused(line):
                self.complaints.append(line)

    def _is_excused(self, line: str) -> bool:
        return any(pattern.search(line) for pattern in self._excused)
