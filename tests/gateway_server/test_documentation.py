"""/docs works where there is no internet: page, scripts and styles are the gateway's own."""

import re
from urllib.parse import urljoin

from gateway_server.routes.documentation import ASSETS
from tests.gateway_server.conftest import ONE_ENGINE, slug_of

pytestmark = ONE_ENGINE
ADDRESS = "http://gateway/docs"
REFERENCE = re.compile(r"""\b(?:src|href)\s*=\s*["']?([^"'\s>]+)""")
STYLE_REFERENCE = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s]{1,80})""")


async def test_the_page_refers_to_nothing_outside_and_all_it_refers_to_is_there(phone):
    page = await phone.get("/docs")

    references = [one for one in REFERENCE.findall(page.text) if not one.startswith("data:")]
    addresses = [urljoin(ADDRESS, one) for one in references]
    assert len(addresses) == len(ASSETS) + 1
    for address in addresses:
        assert address.startswith("http://gateway/")
        assert (await phone.get(address)).status_code == 200


async def test_the_page_may_load_and_ask_nothing_but_the_gateway(phone):
    stated = (await phone.get("/docs")).headers["content-security-policy"]

    policy = dict(rule.strip().split(" ", 1) for rule in stated.split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("img-src") == "'self' data:"  # the style's own small drawings
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy.keys() >= {"frame-ancestors", "base-uri", "form-action"}  # no default covers them


async def test_the_page_has_no_script_within_it_which_its_policy_would_stop(phone):
    page = (await phone.get("/docs")).text

    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == ["", ""]
    assert "<style" not in page
    assert not re.search(r"\son\w+=", page)


async def test_the_style_loads_nothing_further(phone):
    style = (await phone.get("/docs/swagger-ui.css")).text

    assert [one for one in STYLE_REFERENCE.findall(style) if not one.startswith("data:")] == []


async def test_scripts_and_styles_are_what_a_browser_that_does_not_guess_takes(phone):
    for asset, media_type in {**ASSETS, "start.js": "text/javascript"}.items():
        answer = await phone.get(f"/docs/{asset}")

        assert answer.headers["content-type"].partition(";")[0] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_other_files_are_not_there(phone):
    for address in ("/docs/redoc.standalone.js", "/docs/..%2f__init__.py", "/docs/oauth2-redirect"):
        answer = await phone.get(address)

        assert (answer.status_code, slug_of(answer)) == (404, "not-found")
