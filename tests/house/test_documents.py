"""README and its sisters, held against the code: tables, commands, addresses, examples, links."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from gateway_server.app import create_app
from gateway_server.schemas import SearchOut
from gateway_server.settings import Settings
from inference_server import routes
from tests.house.tree import PACKAGES, ROOT, manifest, tracked_files
from tools import documents

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [f for f in tracked_files() if f.suffix == ".md"]
OPENAPI = create_app(Settings.from_mapping({"INTERNAL_TOKEN": "t" * 32})).openapi()
MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@dataclass(frozen=True)
class Curl:
    """A curl command of a page: what it asks for and with which form fields."""

    method: str
    path: str
    fields: frozenset[str]
    authorized: bool


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands() -> Iterator[list[str]]:
    """Every command of the README's shell blocks, split as a shell would."""
    for block in blocks(README, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def read_curl(words: list[str]) -> Curl:
    options = list(zip(words, [*words[1:], ""], strict=True))
    forms = [after.partition("=")[0] for word, after in options if word == "-F"]
    sends = forms or "--json" in words
    stated = next((after for word, after in options if word == "-X"), None)
    (url,) = (word for word in words if word.startswith("$REUNITE_URL"))
    header = next((after for word, after in options if word == "-H"), "")
    return Curl(
        method=stated or ("POST" if sends else "GET"),
        path=url.removeprefix("$REUNITE_URL"),
        fields=frozenset(forms),
        authorized=header == "Authorization: Bearer $REUNITE_KEY",
    )


CURLS = [read_curl(words) for words in commands() if words[0] == "curl"]


def operation(curl: Curl) -> dict[str, Any] | None:
    for template, operations in OPENAPI["paths"].items():
        pattern = re.sub(r"\{\w+\}", r"\\$[A-Z]+", template)
        if re.fullmatch(pattern, curl.path) and curl.method.lower() in operations:
            found: dict[str, Any] = operations[curl.method.lower()]
            return found
    return None


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.name)
def test_the_tables_are_what_make_docs_writes(page: Path):
    text = page.read_text(encoding="utf-8")

    assert documents.rendered(text) == text, "run `make docs`"


def routes_in(section: str) -> set[tuple[str, str]]:
    text = README.partition(f"### {section}")[2].partition("\n#")[0]
    return set(re.findall(r"^\| `([A-Z]+) (/\S*)` \|", text, flags=re.MULTILINE))


def test_the_gateways_routes_are_the_ones_listed():
    served = {(m.upper(), path) for path, ways in OPENAPI["paths"].items() for m in ways}

    assert routes_in("The gateway's routes") == served


def test_the_inference_servers_routes_are_the_ones_listed():
    app = Flask(__name__, static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.register_blueprint(routes.api)
    app.register_blueprint(routes.operations)
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }

    assert routes_in("The inference server's routes") == served


def test_the_readme_starts_with_the_two_commands():
    first = blocks(README, "sh")[0]

    assert re.findall(r"^make (\w+)", first, flags=re.MULTILINE) == ["demo", "test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_make_command_that_a_page_names_exists(page: Path):
    named = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)

    assert set(named) <= MAKE_TARGETS


def test_the_readme_shows_how_to_search_and_to_enrol():
    assert {("POST", "/v1/searches"), ("POST", "/v1/persons")} <= {
        (c.method, c.path) for c in CURLS
    }


@pytest.mark.parametrize("curl", CURLS, ids=lambda curl: f"{curl.method} {curl.path}")
def test_a_curl_command_asks_for_a_route_that_exists_and_carries_a_key(curl: Curl):
    assert operation(curl) is not None
    assert curl.authorized


@pytest.mark.parametrize("curl", [c for c in CURLS if c.fields], ids=lambda curl: curl.path)
def test_a_curl_command_fills_in_fields_that_the_form_has(curl: Curl):
    found = operation(curl)
    assert found is not None
    form = found["requestBody"]["content"]["multipart/form-data"]["schema"]

    assert curl.fields <= {name.removesuffix("[]") for name in form["properties"]}
    assert {name.removesuffix("[]") for name in form["required"]} <= curl.fields


def test_the_answer_that_the_readme_shows_has_the_contracts_members():
    (shown,) = (json.loads(block) for block in blocks(README, "json"))
    shape = SearchOut.model_json_schema()

    assert shown.keys() <= shape["properties"].keys()
    for member, part in (("faces", "FaceFound"), ("candidates", "CandidateOut")):
        assert shown[member][0].keys() <= shape["$defs"][part]["properties"].keys()


def test_a_console_script_that_the_readme_names_exists():
    scripts = {s for folder in PACKAGES.values() for s in manifest(folder)["project"]["scripts"]}
    named = {Path(words[0]).name for words in commands() if words[0].startswith(".venv/bin/")}

    assert named
    assert named <= scripts | {"python"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_a_page_names_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)
    # Files and folders named in backquotes by their path from the repository's root.
    ours = "|".join(sorted({f.relative_to(ROOT).parts[0] for f in tracked_files()}))
    quoted = re.findall(rf"`((?:{ours})/[\w./-]*)`", text)

    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in quoted if not (ROOT / path).exists()]

    assert missing == []
