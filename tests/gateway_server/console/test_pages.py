"""What all pages have in common: languages, headers, assets, errors, and who sees what."""

import re
import string
from importlib.resources import files
from typing import get_args

import pytest

from gateway_server.audit import Action
from gateway_server.console.pages import _templates
from gateway_server.console.wording import LANGUAGES, choose_language, texts_in
from tests.gateway_server.conftest import ONE_ENGINE
from tests.gateway_server.console.browser import browser_at

CONSOLE = files("gateway_server.console")
USED = re.compile(r"""\bt(?:\.count)?\(\s*["']([a-z_.-]+)["']\s*[,)]""")
COUNTED = re.compile(r"""\bt\.count\(\s*["']([a-z_.-]+)["']""")


def templates() -> dict[str, str]:
    names = _templates().list_templates()
    return {name: (CONSOLE / "templates" / name).read_text() for name in names}


def slots(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


def test_every_language_says_the_same():
    texts = {language: texts_in(language) for language in LANGUAGES}

    for language, said in texts.items():
        assert said.keys() == texts["en"].keys(), language
        for key, text in said.items():
            assert text.strip(), key
            assert slots(text) == slots(texts["en"][key]), (language, key)


def test_every_access_has_a_name_in_the_audit():
    named = {f"audit.action.{action}" for action in get_args(Action)}

    assert named - texts_in("en").keys() == set()


@pytest.mark.parametrize("name", templates())
def test_a_template_says_only_what_there_is_a_text_for(name):
    source = templates()[name]
    counted = set(COUNTED.findall(source))
    asked = (set(USED.findall(source)) - counted) | {
        f"{key}.{number}" for key in counted for number in ("one", "other")
    }

    assert asked - texts_in("en").keys() == set()


@pytest.mark.parametrize("name", templates())
def test_a_template_holds_nothing_that_the_policy_would_stop(name):
    source = templates()[name]

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe", source)
    assert re.findall(r"<script[^>]*>([^<]+)</script>", source) == []


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, None, "en"),
        (None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        (None, "en;q=0.5, ko", "ko"),
        (None, "fr, ko;q=0", "en"),
        (None, ";;;q=x,,", "en"),
        ("ko", "en", "ko"),
        ("../en", "en", "en"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_first_that_is_known(chosen, accepted, language):
    assert choose_language(chosen, accepted) == language


@ONE_ENGINE
async def test_language_and_theme_are_kept(stranger):
    await stranger.open("/console/preferences?language=ko&theme=dark&next=/console/sign-in")
    page = await stranger.open("/console/sign-in")

    assert '<html lang="ko" data-theme="dark">' in page.text
    assert "로그인" in page.text


@ONE_ENGINE
async def test_a_page_may_load_and_ask_nothing_but_the_gateway(stranger):
    page = await stranger.open("/console/sign-in")

    policy = dict(
        rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";")
    )
    assert policy.pop("img-src") == "'self' blob: data:"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["x-content-type-options"] == "nosniff"


@ONE_ENGINE
async def test_what_a_page_refers_to_is_there_and_kept_for_a_year(stranger):
    page = await stranger.open("/console/sign-in")

    addresses = set(re.findall(r'(?:src|href)="(/console/static/[^"#]+)', page.text))
    assert len(addresses) >= 4
    for address in addresses:
        answer = await stranger.open(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]
        unversioned = await stranger.open(address.partition("?")[0])
        assert unversioned.headers["cache-control"] == "no-cache"


@ONE_ENGINE
@pytest.mark.parametrize("name", ["none.js", "../pages.py", "..%2fpages.py", "%00", ""])
async def test_other_files_are_not_there(stranger, name):
    assert (await stranger.open(f"/console/static/{name}")).status_code in {404, 405}


def test_vendored_scripts_come_with_their_licence():
    static = CONSOLE / "static"

    assert "Zero-Clause BSD" in (static / "htmx.LICENSE").read_text()


@ONE_ENGINE
async def test_an_unknown_address_is_a_page_that_says_so(desk):
    page = await desk.open("/console/nothing<script>")

    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "There is nothing at this address" in page.text
    assert "<script>" not in page.text


@ONE_ENGINE
@pytest.mark.parametrize(
    ("role", "unseen"), [("operator", {"audit"}), ("admin", set())], ids=["operator", "admin"]
)
async def test_the_navigation_shows_what_a_role_may_see(running, role, unseen):
    everything = {"search", "people", "import", "review", "searches", "failures", "audit", "model"}
    async with browser_at(running, role) as browser:
        page = await browser.open("/console/search")

    shown = set(re.findall(r'<a href="/console/(\w+)"', page.text))
    assert everything - shown == unseen
