"""Multipart forms: how their options are read, and described in the OpenAPI document."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Response

from gateway_server.image_header import TYPES
from gateway_server.photo_archive import StoredPhoto
from gateway_server.problems import InvalidFaceIndex, InvalidModel, InvalidTopK

DEFAULT_TOP_K = 5
MAX_TOP_K = 50
MAX_FACE_INDEX = 999
THUMBNAIL_KEPT_S = 300
MODELS = ("heatmap", "base")

FILE: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
PHOTO = FILE | {"description": "JPEG, PNG, WebP or HEIC, by its content"}
PHOTO_TYPES = ", ".join(TYPES)
PHOTO_ANSWER: dict[str, Any] = {"content": {kind: {} for kind in TYPES}}
HEATMAP_ANSWER: dict[str, Any] = {"content": {"image/png": {}}}
TOP_K = {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K, "default": DEFAULT_TOP_K}
MODEL = {"type": "string", "enum": list(MODELS), "default": MODELS[0]}
FACE = {
    "type": "integer",
    "minimum": 0,
    "maximum": MAX_FACE_INDEX,
    "description": "which face of the photo; the best one, if it is not said",
}


def form_of(
    required: list[str], files: Mapping[str, str], **members: dict[str, Any]
) -> dict[str, Any]:
    """The OpenAPI description of a form that the intake reads; `files`: their media types."""
    schema = {
        "type": "object",
        "required": required,
        "properties": members,
        "additionalProperties": False,
    }
    encoding = {name: {"contentType": types} for name, types in files.items()}
    content = {"multipart/form-data": {"schema": schema, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}


def read_top_k(text: str | None) -> int:
    top_k = _whole_number(text or str(DEFAULT_TOP_K))
    if top_k is None or not 1 <= top_k <= MAX_TOP_K:
        raise InvalidTopK(f"`top_k` is {text!r}; it may be 1 to {MAX_TOP_K}", field="top_k")
    return top_k


def read_model(text: str | None) -> str:
    model = text or MODELS[0]
    if model not in MODELS:
        raise InvalidModel(f"`model` is {text!r}; there are {' and '.join(MODELS)}", field="model")
    return model


def read_face_index(text: str | None) -> int | None:
    """None for the best face."""
    if not text:
        return None
    index = _whole_number(text)
    if index is None or index > MAX_FACE_INDEX:
        raise InvalidFaceIndex(f"`face` is {text!r}; faces are numbered from 0", field="face")
    return index


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


PHOTO_SIZE = Query(
    description="thumb: the face alone as a small WebP, or all of a photo without one"
)
PhotoSize = Annotated[Literal["full", "thumb"], PHOTO_SIZE]


def image_answer(data: bytes, media_type: str) -> Response:
    """A picture of a person: for this caller's eyes, and in no cache on the way."""
    return Response(data, media_type=media_type, headers={"Cache-Control": "private, no-store"})


def photo_answer(photo: StoredPhoto, size: PhotoSize) -> Response:
    """Small ones stay in the caller's own browser for a while: a list is looked at again."""
    answer = image_answer(photo.data, photo.media_type)
    if size == "thumb":
        answer.headers["Cache-Control"] = f"private, max-age={THUMBNAIL_KEPT_S}"
        answer.headers["Vary"] = "Authorization, Cookie"
    return answer
