"""Two sets of networks in one server: who enrols, who answers, and when that changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from face_models.errors import EmbeddingFailed
from face_models.pipeline import Pipeline
from face_models.spec import WEIGHTS_DIR
from inference_server.app import assemble, create_app
from inference_server.enrolment import overlap
from inference_server.face_pipeline import stamp_of
from inference_server.gallery import Counts, Gallery, StoreUnavailable
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.ledger import SqlLedger
from inference_server.gallery.retirement import retire
from inference_server.gallery.store import SqlStore
from inference_server.gallery.switches import NothingToSwitchBack, SqlSwitches
from inference_server.networks import Shadow
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN, WITH_TOKEN, enrol, upload
from tests.inference_server.painted_people import (
    BLUE,
    GREEN,
    RED,
    PaintedCalibration,
    PaintedEngine,
    paint,
    painted_pipeline,
)
from tests.inference_server.references import GRAPHS, OTHER_STAMP, STAMP, reference

NEW_GRAPHS = {name: sha256[::-1].replace(sha256[0], "e") for name, sha256 in GRAPHS.items()}
NEW_CROPPING = ("e" * 64, "m" * 64)


class NegatedEngine(PaintedEngine):
    """Other networks: against the painted ones' vectors everybody is at -1."""

    def embed(self, *arguments, **options):
        made = super().embed(*arguments, **options)
        return type(made)(-made.base, -made.heatmap, made.maps)


def new_pipeline(failure: Exception | None = None, **options: object) -> Pipeline:
    engine = NegatedEngine(failure, graphs=NEW_GRAPHS)
    return painted_pipeline(engine, calibration=PaintedCalibration(measured=NEW_GRAPHS), **options)


@dataclass(frozen=True)
class Server:
    client: FlaskClient
    switches: SqlSwitches
    old: Pipeline
    new: Pipeline

    def switch(self) -> None:
        self.switches.switch(stamp_of(self.new), standing=stamp_of(self.old))

    def model(self, photo: bytes) -> str:
        """Of the network that answered; the first candidate must be beyond doubt."""
        answer = upload(self.client, "/v1/match", photo).get_json()
        assert [one["similarity"] for one in answer["candidates"][:1]] == [1.0]
        return str(answer["model"]["sha256"])


Serve = Callable[..., Server]


@pytest.fixture
def serve(settings: Settings, file_store: SqlStore) -> Serve:
    def start(new: Pipeline | None = None) -> Server:
        old, new = painted_pipeline(), new or new_pipeline()
        switches = SqlSwitches(file_store)
        shadow = Shadow(new, ExactIndex(file_store, stamp_of(new)), switches)
        gallery = Gallery(file_store, ExactIndex(file_store, stamp_of(old)))
        app = create_app(settings, old, gallery, shadow)
        return Server(app.test_client(), switches, old, new)

    return start


def test_everybody_is_found_by_whichever_networks_answer(serve: Serve):
    server = serve()
    enrol(server.client, "ann", paint(RED), "f1")
    assert server.model(paint(RED)) == GRAPHS["heatmap"]
    server.switch()
    assert server.model(paint(RED)) == NEW_GRAPHS["heatmap"]
    enrol(server.client, "bob", paint(GREEN), "f2")
    assert server.model(paint(GREEN)) == NEW_GRAPHS["heatmap"]
    server.switches.switch_back()
    assert server.model(paint(GREEN)) == GRAPHS["heatmap"]


def test_the_whole_answer_is_of_the_networks_on_duty(serve: Serve):
    server = serve()
    server.switch()
    heatmap = upload(server.client, "/v1/heatmap", paint(RED), {"Accept": "application/json"})
    gallery = server.client.get("/v1/gallery", headers=WITH_TOKEN).get_json()
    ready = server.client.get("/readyz").get_json()
    assert heatmap.get_json()["model"]["sha256"] == NEW_GRAPHS["base"]
    assert ready["gallery"] == gallery
    server.switches.switch_back()
    assert (
        server.client.get("/v1/gallery", headers=WITH_TOKEN).get_json()["models"]
        != (gallery["models"])
    )


def test_a_switch_is_another_version_so_that_no_older_answer_is_taken_from_a_cache(serve: Serve):
    server = serve()
    enrol(server.client, "ann", paint(RED), "f1")

    def version() -> int:
        return int(server.client.get("/v1/gallery", headers=WITH_TOKEN).get_json()["version"])

    before = version()
    server.switch()
    server.switch()  # nothing more to do
    assert version() == before + 1
    server.switches.switch_back()
    assert version() == before + 2


def test_a_face_of_before_is_given_the_new_vectors_by_enrolling_it_again(
    serve: Serve, settings: Settings, file_store: SqlStore
):
    old = painted_pipeline()
    alone = create_app(settings, old, Gallery(file_store, ExactIndex(file_store, stamp_of(old))))
    enrol(alone.test_client(), "ann", paint(RED), "f1")
    server = serve()
    assert file_store.count_outdated(stamp_of(server.new)) == 1
    assert enrol(server.client, "ann", paint(RED), "f1").status_code == 200
    assert [file_store.count_outdated(stamp_of(one)) for one in (server.new, old)] == [0, 0]
    assert server.model(paint(RED)) == GRAPHS["heatmap"]
    server.switch()
    assert server.model(paint(RED)) == NEW_GRAPHS["heatmap"]


def test_networks_that_fail_in_the_shadow_refuse_nobody_and_are_counted(
    serve: Serve, file_store: SqlStore
):
    server = serve(new_pipeline(EmbeddingFailed("out of luck")))
    assert enrol(server.client, "ann", paint(RED), "f1").status_code == 201
    assert file_store.count_outdated(stamp_of(server.new)) == 1


def test_another_detector_is_asked_for_the_same_face(serve: Serve):
    server = serve(new_pipeline(cropping_sha256s=NEW_CROPPING))
    server.client.put("/v1/persons/ann", headers=WITH_TOKEN)
    upload(server.client, "/v1/persons/ann/faces", paint(RED, GREEN, BLUE), face_id="f1", face=1)
    chosen = next(
        colour
        for colour in (RED, GREEN, BLUE)
        if upload(server.client, "/v1/match", paint(colour)).get_json()["candidates"][0][
            "similarity"
        ]
        == 1.0
    )
    server.switch()
    assert server.model(paint(chosen)) == NEW_GRAPHS["heatmap"]


def test_a_face_that_another_detector_does_not_see_stays_without_its_vectors(
    serve: Serve, file_store: SqlStore
):
    blind = new_pipeline(cropping_sha256s=NEW_CROPPING)
    blind.detector = NobodyDetector()
    server = serve(blind)
    assert enrol(server.client, "ann", paint(RED), "f1").status_code == 201
    assert file_store.count_outdated(stamp_of(blind)) == 1


class NobodyDetector:
    def detect(self, rgb: object) -> list:
        return []


@pytest.mark.parametrize(
    ("box", "share"),
    [((0, 0, 10, 10), 1.0), ((10, 0, 10, 10), 0.0), ((5, 0, 10, 10), 1 / 3), ((40, 40, 1, 1), 0)],
)
def test_overlap_is_intersection_over_union(box: tuple[float, float, float, float], share: float):
    assert overlap((0, 0, 10, 10), box) == pytest.approx(share)


def test_switches_are_remembered_and_undone(store: SqlStore):
    switches = SqlSwitches(store)
    assert switches.active() is None
    with pytest.raises(NothingToSwitchBack):
        switches.switch_back()
    switches.switch(OTHER_STAMP, standing=STAMP)
    assert switches.active() == OTHER_STAMP
    assert switches.switch_back().to == STAMP
    assert switches.switch_back().to == OTHER_STAMP
    assert store.version() == 3


def test_vectors_of_networks_that_nobody_loads_are_deleted_where_there_are_others(
    store: SqlStore,
):
    enrolled = {"f1": [OTHER_STAMP], "f2": [OTHER_STAMP], "f3": []}
    store.add_person("ann")
    for face_id, also in enrolled.items():
        shadows = [reference("ann", face_id, stamp=stamp) for stamp in also]
        store.add_face(reference("ann", face_id), shadows)
    before = store.changes_since(0, OTHER_STAMP)
    assert retire(store, [OTHER_STAMP]) == {STAMP}
    assert retire(store, [OTHER_STAMP]) == {STAMP}, "f3 has no others"
    after = store.changes_since(0, OTHER_STAMP)
    assert (after.version, after.face_ids) == (before.version, before.face_ids)
    np.testing.assert_array_equal(after.vectors["heatmap"], before.vectors["heatmap"])
    assert store.changes_since(0, STAMP).face_ids == ("f3",)
    assert store.count_outdated(OTHER_STAMP) == 1
    for stamp, faces in ((STAMP, 1), (OTHER_STAMP, 2)):
        (*_, page) = SqlLedger(store).pages(0, stamp)
        assert page.counts == Counts(1, faces, store.version())
    store.remove_person("ann")
    assert store.changes_since(0, OTHER_STAMP).face_ids == ()


def test_a_store_that_is_away_is_told_when_it_is_asked_whose_turn_it_is(tmp_path: Path):
    folder = tmp_path / "gallery.db"
    folder.mkdir()
    with pytest.raises(StoreUnavailable):
        SqlSwitches(SqlStore(f"sqlite:///{folder}")).active()


def test_the_same_networks_twice_are_one_set(store: SqlStore):
    """A face that lay there twice would outlive its removal."""
    store.add_person("ann")
    store.add_face(reference("ann", "f1"), [reference("ann", "f1")])
    assert store.changes_since(0, STAMP).face_ids == ("f1",)
    assert store.count_outdated(STAMP) == 0


def test_networks_that_stand_already_do_not_wait_in_the_shadow(tmp_path: Path, caplog):
    settings = Settings.from_mapping(
        {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'gallery.db'}",
            "INTERNAL_TOKEN": TOKEN,
            "SHADOW_WEIGHTS_DIR": str(WEIGHTS_DIR),
        }
    )
    client = assemble(settings).test_client()
    assert client.get("/readyz").status_code == 200
    assert "nothing waits there" in caplog.text
    photo = min((Path(__file__).parents[1] / "data" / "people").glob("*/*")).read_bytes()
    assert enrol(client, "ann", photo, "f1").status_code == 201
    counts = client.get("/v1/gallery", headers=WITH_TOKEN).get_json()
    assert (counts["persons"], counts["faces"]) == (1, 1)
