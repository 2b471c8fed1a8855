"""Templates turned into pages, for whoever looks at them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway_server.auth import Caller
from gateway_server.console.assets import address_of
from gateway_server.console.navigation import entries_for
from gateway_server.console.scores import chance_of, few, percent, strength
from gateway_server.console.wording import LANGUAGES, Wording, choose_language

LANGUAGE_COOKIE = "reunite_language"
THEME_COOKIE = "reunite_theme"
THEMES: Final = ("auto", "light", "dark")


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page."""

    caller: Caller
    key_name: str
    csrf_token: str
    idle_s: int


def render(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """`template` by its path below `templates`; `values` are its own."""
    shown = _templates().get_template(template).render(**_surroundings(request), **values)
    return HTMLResponse(shown, status)


def wording_of(request: Request) -> Wording:
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return Wording(choose_language(chosen, request.headers.get("accept-language")))


def visitor_of(request: Request) -> Visitor | None:
    """None until somebody is known to have signed in."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    return visitor


def _surroundings(request: Request) -> Mapping[str, object]:
    """What every template may use."""
    visitor, wording = visitor_of(request), wording_of(request)
    theme = request.cookies.get(THEME_COOKIE)
    return {
        "t": wording,
        "language": wording.language,
        "languages": LANGUAGES,
        "theme": theme if theme in THEMES else THEMES[0],
        "themes": THEMES,
        "visitor": visitor,
        "csrf_token": visitor.csrf_token if visitor else "",
        "nav": entries_for(visitor.caller.role) if visitor else (),
        "path": request.url.path,
        "here": _here(request),
        "is_fragment": is_fragment(request),
    }


def query_of(**values: object) -> str:
    """The part of an address after its question mark; what is None is left out."""
    return urlencode({name: value for name, value in values.items() if value is not None})


def is_fragment(request: Request) -> bool:
    """A part of the page is asked for, by its htmx."""
    return "hx-request" in request.headers and "hx-boosted" not in request.headers


def _here(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("gateway_server.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"asset": address_of, "query": urlencode, "chance_of": chance_of}
    environment.filters |= {
        "moment": _moment,
        "thousands": _thousands,
        "path_part": _path_part,
        "percent": percent,
        "few": few,
        "strength": strength,
    }
    return environment


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _thousands(number: int) -> str:
    return f"{number:,}"


def _path_part(text: str) -> str:
    return quote(text, safe="")
