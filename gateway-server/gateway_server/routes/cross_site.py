"""Requests that a browser was made to send by another site.

They are known by what it says of their origin, and by the token that only our own pages can read.
"""

import hmac
from typing import Final

from starlette.requests import Request

from gateway_server.problems import CrossSiteRefused

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
_OUR_OWN: Final = frozenset({"same-origin", "none"})  # none: typed, or a bookmark


def refuse_foreign_origin(request: Request) -> None:
    """Of an unsafe request that a browser sends; whatever is no browser says neither."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site in _OUR_OWN
    else:  # an old browser, or plain HTTP
        is_ours = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not is_ours:
        raise CrossSiteRefused(f"The browser says that it comes from {origin or site}")


def check_csrf_token(expected: str, shown: str | None) -> None:
    if not hmac.compare_digest(expected.encode(), (shown or "").encode()):
        raise CrossSiteRefused(f"The session's token is missing: `{CSRF_HEADER}`")
