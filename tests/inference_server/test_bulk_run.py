"""A run over every kind of source, with an executor of this very process."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from inference_server.bulk import Outcome, Photo, WorkersUnusable
from inference_server.bulk import run as bulk_run
from inference_server.bulk.progress import Progress, Report
from inference_server.bulk.run import BulkEnrolment, derived_face_id
from inference_server.bulk.sources import open_source
from inference_server.bulk.worker import PhotoEmbedder
from inference_server.face_pipeline import stamp_of
from inference_server.gallery import PersonNotFound
from inference_server.gallery.store import SqlStore
from tests.inference_server.bulk_sources import (
    SOURCES,
    LoadPainted,
    as_folder,
    as_tar,
    painted_photos,
    write_manifest,
)
from tests.inference_server.callers import enrol, problem_of, upload
from tests.inference_server.painted_people import BLUE, GREEN, RED, paint
from tests.inference_server.references import OTHER_STAMP, reference

MAX_PHOTO_BYTES = 200_000  # as in the fixture `settings`
EVERYBODY = 1000


class HereExecutor:
    """Embeds in the caller's process; remembers how many photos it was given."""

    def __init__(self) -> None:
        self.pipeline = LoadPainted()()
        self.given = 0

    def run(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        embedder = PhotoEmbedder(self.pipeline)
        for photo in photos:
            self.given += 1
            yield embedder.embed(photo)


def enrol_source(
    store: SqlStore,
    source: Path,
    executor: HereExecutor | None = None,
    report: Path | None = None,
    *,
    bring_back: bool = False,
) -> Progress:
    executor = executor or HereExecutor()
    opened = open_source(source, MAX_PHOTO_BYTES)
    with closing(Report(report)) as told:
        progress = Progress(opened.count(), told, StringIO())
        stamp = stamp_of(executor.pipeline)
        BulkEnrolment(store, executor, stamp, progress, bring_back=bring_back).run(opened)
    return progress


def enrolled(store: SqlStore) -> dict[str, list[str]]:
    page = store.list_persons(EVERYBODY, None)
    return {one.person_id: sorted(face.face_id for face in one.faces) for one in page.persons}


def vectors(store: SqlStore) -> dict[str, tuple[str, bytes, bytes]]:
    changes = store.changes_since(0, stamp_of(LoadPainted()()))
    rows = zip(changes.face_ids, changes.person_ids, *changes.vectors.values(), strict=True)
    return {face: (person, base.tobytes(), heat.tobytes()) for face, person, base, heat in rows}


@pytest.mark.parametrize("form", SOURCES)
def test_every_form_of_a_source_enrols_the_same(store: SqlStore, tmp_path: Path, form: str):
    photos = painted_photos(people=7, photos=5)

    progress = enrol_source(store, SOURCES[form](photos, tmp_path))

    assert (progress.faces, progress.known_before, progress.reasons) == (35, 0, {})
    assert {person: len(faces) for person, faces in enrolled(store).items()} == {
        f"person-{number:03}": 5 for number in range(7)
    }


def test_the_gallery_is_as_if_each_photo_had_come_over_http(
    client: FlaskClient, file_store: SqlStore, tmp_path: Path
):
    photos = {**painted_photos(3, 2), "ann/two.png": paint(RED, BLUE), "bob/none.png": paint()}
    bulk = SqlStore(f"sqlite:///{tmp_path}/bulk.db")
    progress = enrol_source(bulk, as_folder(photos, tmp_path))

    refused = []
    for path, data in photos.items():
        person_id = path.partition("/")[0]
        face_id = derived_face_id(person_id, hashlib.sha256(data).hexdigest(), None)
        answer = enrol(client, person_id, data, face_id)
        if answer.status_code != 201:
            refused.append(problem_of(answer))

    assert refused == list(progress.reasons.elements()) == ["no-face"]
    assert vectors(bulk) == vectors(file_store)
    bulk.close()


class DeletingExecutor(HereExecutor):
    """Somebody deletes people and a face while the photos are embedded."""

    def __init__(self, delete: Callable[[], None]) -> None:
        super().__init__()
        self._delete = delete

    def run(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        embedded = list(super().run(photos))
        self._delete()
        yield from embedded


def delete_unknown(store: SqlStore, person_id: str) -> None:
    """As after the gallery was lost: who deletes is told 404."""
    with pytest.raises(PersonNotFound):
        store.remove_person(person_id)


def test_whoever_is_deleted_during_a_run_does_not_come_back(store: SqlStore, tmp_path: Path):
    photos = painted_photos(people=4, photos=2)
    source = as_folder(photos, tmp_path)
    store.add_person("person-001")

    def delete() -> None:
        store.remove_person("person-001")
        delete_unknown(store, "person-002")

    progress = enrol_source(store, source, DeletingExecutor(delete))

    assert progress.reasons == {"deleted": 4}
    assert sorted(enrolled(store)) == ["person-000", "person-003"]
    assert enrol_source(store, source).reasons == {"deleted": 4}, "nor in the next run"


def test_a_face_that_was_deleted_does_not_come_back_though_its_person_stays(
    store: SqlStore, tmp_path: Path
):
    source = as_folder(painted_photos(people=1, photos=3), tmp_path)
    enrol_source(store, source)
    gone = enrolled(store)["person-000"][0]
    store.remove_face("person-000", gone)
    assert enrol_source(store, source).reasons == {"deleted": 1}
    assert gone not in enrolled(store)["person-000"]


@pytest.mark.parametrize("how", ["registered again", "brought back"])
def test_whoever_was_deleted_comes_back_when_somebody_says_so(
    store: SqlStore, tmp_path: Path, how: str
):
    source = as_folder(painted_photos(people=2, photos=2), tmp_path)
    enrol_source(store, source)
    store.remove_person("person-000")
    if how == "registered again":
        store.add_person("person-000")
    progress = enrol_source(store, source, bring_back=how == "brought back")
    assert (progress.faces, progress.reasons) == (2, {})
    assert len(enrolled(store)["person-000"]) == 2
    assert enrol_source(store, source).reasons == {}


def test_a_second_run_embeds_nothing_again(store: SqlStore, tmp_path: Path):
    source = as_folder({**painted_photos(4, 3), "ann/none.png": paint()}, tmp_path)
    enrol_source(store, source)
    before, executor = store.version(), HereExecutor()

    progress = enrol_source(store, source, executor)

    assert executor.given == 1, "the refused photo is tried again"
    assert (progress.faces, progress.known_before) == (0, 12)
    assert progress.reasons == {"no-face": 1}
    assert store.version() == before


def test_what_came_over_http_is_not_enrolled_again_under_another_face_id(
    client: FlaskClient, file_store: SqlStore, tmp_path: Path
):
    enrol(client, "ann", paint(RED), "from-http")

    progress = enrol_source(file_store, as_folder({"ann/1.png": paint(RED)}, tmp_path))

    assert progress.known_before == 1
    assert enrolled(file_store) == {"ann": ["from-http"]}


def test_a_reference_of_other_networks_is_replaced_under_its_face_id(
    store: SqlStore, tmp_path: Path
):
    sha256 = hashlib.sha256(paint(RED)).hexdigest()
    store.add_person("ann")
    store.add_face(reference("ann", "old", photo_sha256=sha256, stamp=OTHER_STAMP))

    progress = enrol_source(store, as_folder({"ann/1.png": paint(RED)}, tmp_path))

    assert progress.faces == 1
    assert list(vectors(store)) == ["old"]


def test_the_same_photo_twice_is_one_face(store: SqlStore, tmp_path: Path):
    source = as_tar({"ann/1.png": paint(RED), "ann/again.png": paint(RED)}, tmp_path)

    progress = enrol_source(store, source)

    assert (progress.faces, progress.known_before) == (1, 1)
    assert len(enrolled(store)["ann"]) == 1


def test_a_manifest_chooses_ids_and_faces(store: SqlStore, tmp_path: Path):
    photos = {"a/1.png": paint(RED, BLUE), "a/2.png": paint(GREEN)}
    as_folder(photos, tmp_path)
    rows = [
        {"person_id": "ann", "face_id": "f1", "photo": "people/a/1.png", "face": "0"},
        {"person_id": "bob", "face_id": "f2", "photo": "people/a/1.png", "face": "1"},
        {"person_id": "bob", "face_id": "f2", "photo": "people/a/2.png", "face": ""},
        {"person_id": "bob", "face_id": "f3", "photo": "people/a/2.png", "face": "7"},
        {"person_id": "cid", "face_id": "not an id", "photo": "people/a/2.png", "face": ""},
        {"person_id": "cid", "face_id": "f4", "photo": "../secret.png", "face": ""},
        {"person_id": "cid", "face_id": "f5", "photo": "people/a/gone.png", "face": ""},
    ]
    report = tmp_path / "report.csv"

    enrol_source(store, write_manifest(rows, tmp_path / "m.csv"), report=report)

    assert enrolled(store) == {"ann": ["f1"], "bob": ["f2"]}
    with report.open(encoding="utf-8", newline="") as file:
        told = sorted((row["photo"], row["type"]) for row in csv.DictReader(file))
    assert told == [
        ("../secret.png", "unsafe-path"),
        ("people/a/2.png", "face-id-in-use"),
        ("people/a/2.png", "invalid-option"),
        ("people/a/2.png", "no-such-face"),
        ("people/a/gone.png", "photo-missing"),
    ]


def test_batches_are_written_while_the_run_goes_on(file_store: SqlStore, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk_run, "BATCH_FACES", 4)

    enrol_source(file_store, as_folder(painted_photos(3, 3), tmp_path))

    assert file_store.version() == 3, "a version for each of the batches of 4, 4 and 1"


def test_few_photos_are_read_ahead(file_store: SqlStore, tmp_path: Path):
    taken: list[str] = []

    class Counting(HereExecutor):
        def run(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
            for photo in super().run(photos):
                assert len(taken) - self.given <= 2 * bulk_run.READ_AHEAD
                yield photo

    class Noted:
        def __init__(self, source) -> None:
            self.source = source

        def photos(self):
            for one in self.source.photos():
                taken.append(one.name)
                yield one

    executor = Counting()
    source = Noted(open_source(as_folder(painted_photos(20, 10), tmp_path), MAX_PHOTO_BYTES))
    progress = Progress(None, Report(None), StringIO())
    stamp = stamp_of(executor.pipeline)
    BulkEnrolment(file_store, executor, stamp, progress).run(source)  # type: ignore[arg-type]

    assert executor.given == len(taken) == 200


def test_workers_with_other_networks_end_the_run(file_store: SqlStore, tmp_path: Path):
    executor = HereExecutor()
    source = open_source(as_folder(painted_photos(1, 1), tmp_path), MAX_PHOTO_BYTES)
    progress = Progress(None, Report(None), StringIO())
    stamp = replace(stamp_of(executor.pipeline), base="0" * 64)

    with pytest.raises(WorkersUnusable):
        BulkEnrolment(file_store, executor, stamp, progress).run(source)

    assert file_store.version() == 0


def test_who_was_enrolled_in_bulk_is_found(
    client: FlaskClient, file_store: SqlStore, tmp_path: Path
):
    enrol_source(file_store, as_folder({"ann/1.png": paint(RED)}, tmp_path))

    found = upload(client, "/v1/match", paint(RED)).get_json()["candidates"]

    assert [one["person_id"] for one in found] == ["ann"]


def test_the_line_tells_rate_and_time_left():
    now = [0.0]
    progress = Progress(100, Report(None), StringIO(), clock=lambda: now[0])
    now[0] = 10.0
    progress.enrolled(25)

    assert progress.line() == (
        "[########                      ] 25% 25 of 100 photos, 0 refused, 2.5 faces/s, "
        "0:00:30 left"
    )
