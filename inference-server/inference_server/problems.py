"""Every failure as one JSON document (RFC 9457); nothing else may leave this server.

Errors come from three trees: face_models.errors, inference_server.gallery, and this one.

RequestRefused
├── Unauthorized      unauthorized      no token, or another one
├── PhotoMissing      photo-missing     no photo where it belongs
├── InvalidOption     invalid-option    unknown, given twice, or out of its range
├── NotAcceptable     not-acceptable    no media type that the caller accepts
└── NotReady          not-ready         the networks fail on a photo that they must master
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import ClassVar, Final

from flask import Flask, Response, g, json
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from face_models.errors import FaceModelsError, PhotoError
from inference_server.gallery import GalleryError

TYPE_PREFIX: Final = "urn:reunite:problem:"
MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5

log = logging.getLogger(__name__)


class RequestRefused(Exception):
    """Root of the tree; `slug` is the last part of the problem type."""

    slug: ClassVar[str] = "bad-request"


class Unauthorized(RequestRefused):
    slug = "unauthorized"


class PhotoMissing(RequestRefused):
    slug = "photo-missing"


class InvalidOption(RequestRefused):
    slug = "invalid-option"


class NotAcceptable(RequestRefused):
    slug = "not-acceptable"


class NotReady(RequestRefused):
    slug = "not-ready"


STATUSES: Final = {
    "bad-request": HTTPStatus.BAD_REQUEST,
    "empty-photo": HTTPStatus.BAD_REQUEST,
    "photo-missing": HTTPStatus.BAD_REQUEST,
    "invalid-option": HTTPStatus.BAD_REQUEST,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "not-found": HTTPStatus.NOT_FOUND,
    "person-not-found": HTTPStatus.NOT_FOUND,
    "face-not-found": HTTPStatus.NOT_FOUND,
    "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "not-acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "face-id-in-use": HTTPStatus.CONFLICT,
    "photo-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-image-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    **dict.fromkeys(
        (
            "unreadable-image",
            "too-many-pixels",
            "no-face",
            "no-such-face",
            "face-too-small",
            "quality-too-low",
        ),
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    "internal-error": HTTPStatus.INTERNAL_SERVER_ERROR,
    "embedding-failed": HTTPStatus.INTERNAL_SERVER_ERROR,
    "weights-unusable": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "not-ready": HTTPStatus.SERVICE_UNAVAILABLE,
}
_OF_WERKZEUG: Final = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "photo-too-large",
}


def problem_document(slug: str, detail: str, request_id: str) -> dict[str, str | int]:
    """Its title is the slug in words."""
    return {
        "type": TYPE_PREFIX + slug,
        "title": slug.replace("-", " ").capitalize(),
        "status": STATUSES[slug].value,
        "detail": detail,
        "request_id": request_id,
    }


def answer_problem(slug: str, detail: str) -> Response:
    status = STATUSES[slug]
    g.problem = slug
    document = problem_document(slug, detail, g.request_id)
    response = Response(json.dumps(document), status, content_type=MEDIA_TYPE)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def handle_problems(app: Flask) -> None:
    for tree in (RequestRefused, PhotoError, FaceModelsError, GalleryError):
        app.register_error_handler(tree, _answer_known)
    app.register_error_handler(ParseException, _answer_broken_body)
    app.register_error_handler(HTTPException, _answer_werkzeug)
    app.register_error_handler(Exception, _answer_unknown)


def _answer_known(error: RequestRefused | FaceModelsError | GalleryError) -> Response:
    if STATUSES[error.slug] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s", error, exc_info=error)
    return answer_problem(error.slug, str(error))


def _answer_broken_body(error: ParseException) -> Response:
    """A chunked body is decoded by gunicorn only while we read it."""
    return answer_problem("bad-request", f"The body is not well-formed HTTP: {error}")


def _answer_werkzeug(error: HTTPException) -> Response:
    """Routing, and bodies that werkzeug gave up on; its own pages would be HTML."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _answer_unknown(error)
    response = answer_problem(_OF_WERKZEUG.get(status, "bad-request"), _detail_of(error))
    allowed = dict(error.get_headers()).get("Allow")
    if allowed is not None:
        response.headers["Allow"] = allowed
    return response


def _detail_of(error: HTTPException) -> str:
    if isinstance(error, RequestEntityTooLarge):
        return "The body, or a field of it, is larger than what is accepted."
    return error.description or "The request cannot be understood."


def _answer_unknown(error: Exception) -> Response:
    log.error("An error that nobody foresaw", exc_info=error)
    return answer_problem("internal-error", "The server failed; its journal tells why.")
