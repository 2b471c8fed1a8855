"""The README names the routes that there are."""

from __future__ import annotations

import re
from pathlib import Path

from flask.testing import FlaskClient

README = Path(__file__).parents[2] / "inference-server" / "README.md"


def test_the_readmes_endpoints_are_the_servers_routes(client: FlaskClient):
    rows = [line.split("|")[1:3] for line in README.read_text().splitlines() if "| `/" in line]
    named = {
        (method, path)
        for methods, paths in rows
        for method in re.findall(r"`(\w+)`", methods)
        for path in re.findall(r"`(/[^`]+)`", paths)
    }
    served = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }
    assert named == served
