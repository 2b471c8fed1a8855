"""/app: the phone page's files as they are served; what they do is tested in `tests/browser`."""

import json
import re
from collections.abc import AsyncIterator
from importlib.resources import files

import httpx
import pytest

from gateway_server.app import create_app
from gateway_server.phone.shell import HOME, PAGE, WORKER, read_shell
from gateway_server.settings import Settings

STATIC = files("gateway_server.phone") / "static"
LANGUAGES = ("en", "ko")
SPOKEN = re.compile(r"""data-(?:text|label)="([^"]+)"|say\("([^"]+)"[,)]""")
MADE_UP = re.compile(r"say\(`([a-z.-]+)\$\{")
SCRIPTS = [name for name in read_shell() if name.endswith((".js", ".html"))]


@pytest.fixture
async def stranger() -> AsyncIterator[httpx.AsyncClient]:
    """Of a gateway that has opened neither database nor photos: the page needs neither."""
    app = create_app(Settings.from_mapping({"INTERNAL_TOKEN": "t" * 32}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def texts(language: str) -> dict[str, str]:
    read: dict[str, str] = json.loads((STATIC / "texts" / f"{language}.json").read_text("utf-8"))
    return read


def source(name: str) -> str:
    return (STATIC / name).read_text("utf-8")


async def test_the_page_is_served_to_anybody_under_the_pages_policy(stranger):
    answer = await stranger.get("/app/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "Reunite" in answer.text


async def test_without_the_slash_it_leads_to_the_page(stranger):
    answer = await stranger.get("/app")

    assert (answer.status_code, answer.headers["location"]) == (308, HOME)


@pytest.mark.parametrize("name", [name for name in read_shell() if name != PAGE])
async def test_a_file_comes_with_its_type_and_not_twice(stranger, name):
    answer = await stranger.get(HOME + name)
    again = await stranger.get(HOME + name, headers={"If-None-Match": answer.headers["etag"]})

    assert answer.headers["content-type"] == read_shell()[name].media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", [PAGE, "shell.py", "../shell.py", "texts", "texts/fr.json"])
async def test_nothing_else_is_served(stranger, name):
    assert (await stranger.get(HOME + name)).status_code == 404


async def test_the_worker_knows_every_file_and_may_keep_the_address_without_the_slash(stranger):
    answer = await stranger.get(HOME + WORKER)
    found = re.search(r"const SHELL = (\{.*?\});", answer.text)
    assert found is not None
    shell = json.loads(found.group(1))

    assert set(shell["files"]) == {
        HOME if name == PAGE else HOME + name for name in read_shell() if name != WORKER
    }
    assert shell["version"]
    assert answer.headers["service-worker-allowed"] == "/app"


def test_every_language_says_the_same_things():
    first, *others = (texts(language).keys() for language in LANGUAGES)

    assert all(other == first for other in others)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_has_the_places_that_the_others_have(language):
    def places(text: str) -> set[str]:
        return set(re.findall(r"\{\w+\}", text))

    first = texts(LANGUAGES[0])
    assert {n: places(text) for n, text in texts(language).items()} == {
        n: places(text) for n, text in first.items()
    }


def test_what_is_said_is_known_and_what_is_known_is_said():
    sources = "".join(source(name) for name in SCRIPTS)
    said = {one or other for one, other in SPOKEN.findall(sources)}
    stems = set(MADE_UP.findall(sources))
    known = texts("en").keys()

    assert said <= known
    assert all(any(name.startswith(stem) for name in known) for stem in stems)
    quoted = {name for name in known if f'"{name}"' in sources}
    assert {n for n in known - said - quoted if not n.startswith(tuple(stems))} == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_comes_from_another_host(name):
    hosts = re.findall(r"https?://[^\s\"'`]+", source(name))

    assert set(hosts) <= {"http://www.w3.org/2000/svg"}
