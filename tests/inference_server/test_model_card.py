"""GET /v1/model and its plots, and POST /v1/thumbnail."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from face_models.spec import WEIGHTS_DIR
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.house.tree import ROOT
from tests.inference_server.callers import WITH_TOKEN, client_of, enrol, problem_of, upload
from tests.inference_server.painted_people import (
    BLUE,
    RED,
    PaintedCalibration,
    paint,
    painted_pipeline,
)
from tests.inference_server.references import GRAPHS

REPORTS = ROOT / "models" / "reports"
SHIPPED = {
    "calibration": REPORTS / "calibration.png",
    "det": REPORTS / "lfw" / "det.png",
    "open-set": REPORTS / "lfw" / "open-set.png",
    "robustness": REPORTS / "robustness.png",
    "roc": REPORTS / "lfw" / "roc.png",
}


def test_the_card_is_told_with_the_networks_and_the_rule_of_a_lead(client: FlaskClient):
    answer = client.get("/v1/model", headers=WITH_TOKEN).get_json()

    assert answer["card"].startswith("# Model card")
    told = {one["name"]: one["sha256"] for one in answer["models"]}
    assert told == {name: GRAPHS[name] for name in ("base", "heatmap")}
    assert answer["lead_max_expected_false_matches"] == 0.1
    assert answer["plots"] == sorted(SHIPPED)


def test_the_curves_are_those_that_a_search_is_judged_by(client: FlaskClient):
    enrol(client, "ann", paint(RED), "f1")
    match = upload(client, "/v1/match", paint(BLUE)).get_json()["candidates"][0]
    curve = client.get("/v1/model", headers=WITH_TOKEN).get_json()["curves"]["heatmap"]

    told = dict(zip(curve["similarity"], curve["fmr"], strict=True))
    nearest = round(max(match["similarity"], 0), 2)
    assert told[nearest] == pytest.approx(10 ** (-6 * nearest), rel=1e-3)
    assert curve["similarity"] == sorted(curve["similarity"])
    assert curve["fmr"] == sorted(curve["fmr"], reverse=True)


def test_networks_that_were_not_measured_have_no_curves(settings: Settings, file_store: SqlStore):
    pipeline = painted_pipeline(calibration=PaintedCalibration(measured={}))
    client = client_of(settings, pipeline, file_store)
    assert client.get("/v1/model", headers=WITH_TOKEN).get_json()["curves"] == {}


def test_weights_without_card_and_plots_have_nothing_to_tell(
    settings: Settings, file_store: SqlStore, tmp_path: Path
):
    client = client_of(replace(settings, weights_dir=tmp_path), painted_pipeline(), file_store)
    answer = client.get("/v1/model", headers=WITH_TOKEN).get_json()
    assert (answer["card"], answer["plots"]) == ("", [])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_plots_are_the_reports_own(client: FlaskClient, name: str):
    response = client.get(f"/v1/model/plots/{name}", headers=WITH_TOKEN)
    assert response.content_type == "image/png"
    assert response.data == SHIPPED[name].read_bytes()
    assert (WEIGHTS_DIR / "plots" / f"{name}.png").exists()


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("none", (404, "not-found")),
        ("..%2Fbase", (404, "not-found")),
        ("a.b", (400, "invalid-option")),
    ],
)
def test_no_other_file_is_a_plot(client: FlaskClient, name: str, answered: tuple[int, str]):
    response = client.get(f"/v1/model/plots/{name}", headers=WITH_TOKEN)
    assert (response.status_code, problem_of(response)) == answered


def opened(data: bytes) -> Image.Image:
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def middle_of(picture: Image.Image) -> str:
    red, _, blue = np.asarray(picture)[112, 112].tolist()
    return "red" if red > blue else "blue"


def test_a_thumbnail_is_the_face_that_is_asked_for(client: FlaskClient):
    photo = paint(RED, BLUE)
    one, other, best = (
        opened(upload(client, "/v1/thumbnail", photo, **face).data)
        for face in ({"face": 0}, {"face": 1}, {})
    )

    assert (best.format, best.size) == ("WEBP", (224, 224))
    assert {middle_of(one), middle_of(other)} == {"red", "blue"}
    assert middle_of(best) == middle_of(one)


@pytest.mark.parametrize(("photo", "face"), [(paint(), {}), (paint(RED), {"face": 7})])
def test_a_photo_without_the_face_is_shown_as_a_whole(
    client: FlaskClient, photo: bytes, face: dict[str, int]
):
    width, height = opened(photo).size
    shown = opened(upload(client, "/v1/thumbnail", photo, **face).data)
    assert max(shown.size) <= 224
    assert shown.width / shown.height == pytest.approx(width / height, rel=0.03)


def test_a_face_that_no_search_would_take_is_shown(settings: Settings, file_store: SqlStore):
    picky = painted_pipeline(settings=replace(painted_pipeline().settings, min_face_px=10_000))
    response = upload(client_of(settings, picky, file_store), "/v1/thumbnail", paint(RED))
    assert opened(response.data).size == (224, 224)


def test_what_is_no_photo_has_no_thumbnail(client: FlaskClient):
    response = upload(client, "/v1/thumbnail", b"\xff\xd8\xff but no picture")
    assert (response.status_code, problem_of(response)) == (422, "unreadable-image")
