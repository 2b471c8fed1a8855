"""A real browser before real servers: started once, filled with demo people, watched for errors."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from demo.people import Subject, read_people
from demo.servers import House, Plan, running
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import read_original
from tests.browser.chromium import MISSING, find_chromium
from tests.browser.visitor import WITHIN_MS, Visitor
from tests.house.tree import ROOT

PEOPLE = ROOT / "tests" / "data" / "people"
SCREENSHOTS = ROOT / "runs" / "browser"
MOST_PEOPLE = 8
MAX_PHOTO_BYTES = 2_000_000  # a file above it is quickly made
MARKER = "browser"
ROLES = ("mobile", "operator", "admin")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """They run where they are asked for: `make browser`, or `pytest -m browser`."""
    if MARKER in config.option.markexpr:
        return
    ours = [item for item in items if item.get_closest_marker(MARKER)]
    items[:] = [item for item in items if item not in ours]
    config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="session")
def people() -> Sequence[Subject]:
    return read_people(PEOPLE, MOST_PEOPLE)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, people: Sequence[Subject]) -> Iterator[House]:
    plan = Plan.on_free_ports(tmp_path_factory.mktemp("house") / "data")
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        environment.setenv("MAX_PHOTO_BYTES", str(MAX_PHOTO_BYTES))
        house = stack.enter_context(running(plan))
        key = house.make_key("operator", "the one who enrols")
        with Client(Connection(house.plan.gateway_url, key)) as client:
            for person in people:
                client.enroll(person.name, [read_original(photo) for photo in person.enrolled[:1]])
        yield house


@pytest.fixture(scope="session")
def keys(house: House) -> Mapping[str, str]:
    """One for each role."""
    return {role: house.make_key(role, f"{role} of the tests") for role in ROLES}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(
    browser: Browser, house: House, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Visitor]]:
    """Opens a browser of somebody's own; afterwards none of them may have complained."""
    visitors: list[Visitor] = []
    folder = SCREENSHOTS / re.sub(r"\W+", "-", request.node.name).strip("-")

    def open_browser(url: str = house.plan.gateway_url, **options: Any) -> Visitor:
        visitor = Visitor(browser, url, folder, **options)
        visitors.append(visitor)
        return visitor

    yield open_browser
    for visitor in visitors:
        visitor.leave()
    assert [line for visitor in visitors for line in visitor.complaints] == []
