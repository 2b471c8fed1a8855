"""The Flask app: who may enter, what every answer carries, and where the parts are joined."""

from __future__ import annotations

import hmac
import logging
import re
from time import perf_counter
from typing import Final
from uuid import uuid4

from flask import Flask, Response, g, request

from face_models.photo import PhotoLimits
from face_models.pipeline import Pipeline, PipelineSettings
from inference_server import routes
from inference_server.face_pipeline import FacePipeline, stamp_of
from inference_server.gallery import Gallery, ModelStamp
from inference_server.gallery.store import SqlStore
from inference_server.gallery.switches import SqlSwitches
from inference_server.indexes import SHADOWS, discard_unused_snapshots, look_after, open_index
from inference_server.intake import (
    FORM_MEMORY_BYTES,
    FORM_OVERHEAD_BYTES,
    PhotoRequest,
    checked_identifier,
)
from inference_server.matcher import Policy
from inference_server.metrics import NO_ROUTE, Metrics
from inference_server.networks import Shadow, rota_of
from inference_server.problems import Unauthorized, handle_problems
from inference_server.routes import Services
from inference_server.settings import Settings

REQUEST_ID_HEADER: Final = "X-Request-Id"
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_FORM_PARTS: Final = 16

log = logging.getLogger(__name__)


def assemble(settings: Settings) -> Flask:
    """The app with its real pipeline and gallery; called once in each worker, after the fork.

    Raises:
        WeightsError
    """
    demands = demands_of(settings)
    pipeline = Pipeline.load(settings.weights_dir, settings.onnx_threads, demands)
    store = SqlStore(settings.database_url)
    index = open_index(settings, store, stamp_of(pipeline))
    look_after(index)
    discard_unused_snapshots(settings)
    shadow = _shadow(settings, store, stamp_of(pipeline))
    return create_app(settings, pipeline, Gallery(store, index), shadow)


def _shadow(settings: Settings, store: SqlStore, standing: ModelStamp) -> Shadow | None:
    """None where there is no other set of networks: one set must not hold a face twice."""
    if settings.shadow_weights_dir is None:
        return None
    demands = demands_of(settings)
    pipeline = Pipeline.load(settings.shadow_weights_dir, settings.onnx_threads, demands)
    if stamp_of(pipeline) == standing:
        log.warning("SHADOW_WEIGHTS_DIR holds the networks of WEIGHTS_DIR: nothing waits there")
        return None
    index = open_index(settings, store, stamp_of(pipeline), SHADOWS)
    look_after(index)
    return Shadow(pipeline, index, SqlSwitches(store))


def create_app(
    settings: Settings, pipeline: FacePipeline, gallery: Gallery, shadow: Shadow | None = None
) -> Flask:
    app = Flask(__name__, static_folder=None)
    _limit(app, settings)
    app.extensions[Services.EXTENSION] = _services(settings, pipeline, gallery, shadow)
    app.before_request(_name_request)
    app.before_request(_demand_token)
    app.before_request(_check_identifiers)
    app.after_request(_close_request)
    handle_problems(app)
    app.register_blueprint(routes.api)
    app.register_blueprint(routes.operations)
    return app


def demands_of(settings: Settings) -> PipelineSettings:
    """What this server demands of a photo and makes of a face, in the pipeline's words."""
    return PipelineSettings(
        limits=PhotoLimits(
            max_bytes=settings.max_photo_bytes, max_pixels=settings.max_photo_pixels
        ),
        min_face_px=settings.min_face_px,
        min_quality=settings.min_quality,
        descriptor=settings.descriptor,
        flip=bool(settings.flip),
    )


def _limit(app: Flask, settings: Settings) -> None:
    """Bodies are cut off while they are read, and no address is answered with a redirection."""
    app.request_class = PhotoRequest
    app.config["MAX_CONTENT_LENGTH"] = settings.max_photo_bytes + FORM_OVERHEAD_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_MEMORY_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider


def _services(
    settings: Settings, pipeline: FacePipeline, gallery: Gallery, shadow: Shadow | None
) -> Services:
    policy = Policy(settings.lead_max_expected_false_matches, settings.verify_max_false_match_rate)
    return Services(
        settings=settings,
        store=gallery.store,
        rota=rota_of(pipeline, gallery, policy, shadow),
        metrics=Metrics(),
    )


def _name_request() -> None:
    g.started = perf_counter()
    g.problem = None
    given = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex


def _demand_token() -> None:
    """Of everybody, on every path but the operations'; in constant time."""
    if request.blueprint == routes.operations.name:
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = routes.services().settings.internal_token
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), expected.encode()):
        raise Unauthorized("Show the internal token as `Authorization: Bearer …`.")


def _check_identifiers() -> None:
    for name, value in (request.view_args or {}).items():
        checked_identifier(name, value)


def _close_request(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    seconds = perf_counter() - g.started
    route = (request.endpoint or NO_ROUTE).rpartition(".")[2]
    routes.services().metrics.count_request(route, response.status_code, g.problem, seconds)
    facts = {"route": route, "status": response.status_code, "ms": round(1000 * seconds, 1)}
    problem = {} if g.problem is None else {"problem": g.problem}
    log.info("answered", extra={**facts, **problem})
    return response
