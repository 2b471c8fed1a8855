import pytest

from tests.gateway_server.console.browser import browser_at


@pytest.fixture
async def stranger(running):
    async with browser_at(running) as browser:
        yield browser


@pytest.fixture
async def desk(running):
    """An operator's browser."""
    async with browser_at(running, "operator") as browser:
        yield browser
