"""HTTP <-> domain, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotFound

from inference_server import schemas
from inference_server.gallery import MODELS, Store
from inference_server.heatmaps import draw_heatmap
from inference_server.intake import FORM_OVERHEAD_BYTES, Options, read_photo, read_photos
from inference_server.matcher import MatchOptions
from inference_server.metrics import CONTENT_TYPE, Metrics
from inference_server.model_card import read_card, read_plot
from inference_server.networks import Networks, Rota
from inference_server.paging import decode_cursor, encode_cursor
from inference_server.problems import NotAcceptable
from inference_server.settings import Settings
from inference_server.stopwatch import Stopwatch
from inference_server.thumbnails import draw_thumbnail

DEFAULT_MODEL: Final = "heatmap"
DEFAULT_TOP_K: Final = 5
MAX_TOP_K: Final = 50
MAX_FACE_INDEX: Final = 9999
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 500

PNG: Final = "image/png"
WEBP: Final = "image/webp"
JSON: Final = "application/json"
NPY: Final = "application/x-npy"

api = Blueprint("api", __name__, url_prefix="/v1")
operations = Blueprint("operations", __name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes of one app work with."""

    settings: Settings
    store: Store
    rota: Rota
    metrics: Metrics

    EXTENSION = "inference_server"

    def weights_dir(self, networks: Networks) -> Path:
        """The folder that the networks came from."""
        shadow = self.settings.shadow_weights_dir if networks.is_shadow else None
        return shadow or self.settings.weights_dir


def services() -> Services:
    return cast(Services, current_app.extensions[Services.EXTENSION])


def on_duty() -> Networks:
    """Asked once in a request, so that all of its answer comes from the same networks."""
    return services().rota.on_duty()


@api.post("/match")
def match() -> Response:
    photo = read_photo(request)
    options = Options(request, ("top_k", "model", "face"))
    networks = on_duty()
    found = networks.matcher.match(
        photo,
        MatchOptions(
            model=options.choice("model", MODELS, DEFAULT_MODEL),
            top_k=options.natural("top_k", DEFAULT_TOP_K, at_least=1, at_most=MAX_TOP_K),
            face=options.optional_natural("face", at_most=MAX_FACE_INDEX),
        ),
    )
    services().metrics.count_search(found.model, found.verdict, found.timings_ms)
    services().metrics.show_gallery(found.counts)
    return jsonify(request_id=g.request_id, **schemas.match_document(found, networks.prints))


@api.post("/faces")
def faces() -> Response:
    watch = Stopwatch()
    photo = read_photo(request)
    Options(request, ())
    analysis = on_duty().pipeline.analyse(photo)
    document = schemas.analysis_document(analysis, watch.timings_ms(analysis.timings_ms))
    return jsonify(request_id=g.request_id, **document)


@api.post("/heatmap")
def heatmap() -> Response:
    media_type = _negotiate(PNG, JSON, NPY)
    photo = read_photo(request)
    options = Options(request, ("model", "face"))
    options.choice("model", MODELS, DEFAULT_MODEL)  # both models start from the base network's map
    face = options.optional_natural("face", at_most=MAX_FACE_INDEX)
    networks = on_duty()
    drawn = draw_heatmap(networks.pipeline, photo, face)
    if media_type == PNG:
        return Response(drawn.overlay_png(), content_type=PNG)
    if media_type == NPY:
        return Response(drawn.map_npy(), content_type=NPY)
    return jsonify(request_id=g.request_id, **schemas.heatmap_document(drawn, networks.prints))


@api.post("/thumbnail")
def thumbnail() -> Response:
    photo = read_photo(request)
    face = Options(request, ("face",)).optional_natural("face", at_most=MAX_FACE_INDEX)
    return Response(draw_thumbnail(on_duty().pipeline, photo, face), content_type=WEBP)


@api.post("/verify")
def verify() -> Response:
    request.max_content_length = 2 * services().settings.max_photo_bytes + FORM_OVERHEAD_BYTES
    photos = read_photos(request, "photo_a", "photo_b")
    model = Options(request, ("model",)).choice("model", MODELS, DEFAULT_MODEL)
    networks = on_duty()
    result = networks.matcher.verify(photos["photo_a"], photos["photo_b"], model)
    document = schemas.verification_document(result, networks.prints)
    return jsonify(request_id=g.request_id, **document)


@api.put("/persons/<person_id>")
def put_person(person_id: str) -> tuple[Response, HTTPStatus]:
    Options(request, ())
    person, created = services().store.add_person(person_id)
    return jsonify(schemas.person_document(person)), _created_or_ok(created)


@api.post("/persons/<person_id>/faces")
def post_face(person_id: str) -> tuple[Response, HTTPStatus]:
    photo = read_photo(request)
    options = Options(request, ("face_id", "face"))
    networks = on_duty()
    reference, created = networks.enroller.enrol(
        photo,
        person_id,
        face_id=options.identifier("face_id") or str(uuid4()),
        face=options.optional_natural("face", at_most=MAX_FACE_INDEX),
    )
    if created:
        services().metrics.count_enrolment()
    counts = networks.index.counts()
    return jsonify(schemas.reference_document(reference, counts)), _created_or_ok(created)


@api.delete("/persons/<person_id>")
def delete_person(person_id: str) -> Response:
    Options(request, ())
    services().store.remove_person(person_id)
    return Response(status=HTTPStatus.NO_CONTENT)


@api.delete("/persons/<person_id>/faces/<face_id>")
def delete_face(person_id: str, face_id: str) -> Response:
    Options(request, ())
    services().store.remove_face(person_id, face_id)
    return Response(status=HTTPStatus.NO_CONTENT)


@api.get("/persons")
def list_persons() -> Response:
    options = Options(request, ("limit", "cursor"))
    limit = options.natural("limit", DEFAULT_PAGE, at_least=1, at_most=MAX_PAGE)
    after = decode_cursor(options.text("cursor"))
    page = services().store.list_persons(limit, after)
    return jsonify(schemas.page_document(page, encode_cursor(page.next_after)))


@api.get("/gallery")
def gallery() -> Response:
    Options(request, ())
    networks = on_duty()
    counts = networks.index.counts()
    services().metrics.show_gallery(counts)
    return jsonify(schemas.gallery_document(counts, networks.prints))


@api.get("/model")
def model() -> Response:
    Options(request, ())
    networks = on_duty()
    card = read_card(services().weights_dir(networks), networks.matcher.scale, MODELS)
    allowed = services().settings.lead_max_expected_false_matches
    return jsonify(schemas.card_document(card, networks.prints, allowed))


@api.get("/model/plots/<name>")
def plot(name: str) -> Response:
    Options(request, ())
    png = read_plot(services().weights_dir(on_duty()), name)
    if png is None:
        raise NotFound(f"There is no plot {name}.")
    return Response(png, content_type=PNG)


@operations.get("/healthz")
def healthz() -> Response:
    return jsonify(status="alive")


@operations.get("/readyz")
def readyz() -> Response:
    networks = on_duty()
    return jsonify(schemas.readiness_document(networks.readiness.run(), networks.prints))


@operations.get("/metrics")
def metrics() -> Response:
    return Response(services().metrics.exposition(), content_type=CONTENT_TYPE)


def _created_or_ok(created: bool) -> HTTPStatus:
    return HTTPStatus.CREATED if created else HTTPStatus.OK


def _negotiate(*offered: str) -> str:
    """The first of `offered` among those that the caller likes best."""
    accepted = request.accept_mimetypes or MIMEAccept([("*/*", 1)])
    chosen = accepted.best_match(offered)
    if chosen is None:
        raise NotAcceptable(f"This is answered as {', '.join(offered)} only.")
    return chosen
