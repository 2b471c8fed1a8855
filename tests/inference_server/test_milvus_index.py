"""Several workers, one collection, no lock: what happens when one is late, killed, or alone."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from inference_server.app import create_app
from inference_server.gallery import (
    BEGINNING,
    MODELS,
    Changes,
    Counts,
    Gallery,
    Moment,
    StoreUnavailable,
)
from inference_server.gallery.ledger import Page, SqlLedger
from inference_server.gallery.milvus_connection import MilvusConnection, check_index_url
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import (
    KINDS,
    collection_name,
    face_indexes,
    face_schema,
)
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.callers import problem_of, upload
from tests.inference_server.painted_people import RED, paint, painted_pipeline
from tests.inference_server.references import OTHER_STAMP, STAMP, reference, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog, brute_force

FLAT = KINDS["FLAT"]


@pytest.fixture
def log() -> ScriptedLog:
    log = ScriptedLog()
    for number, vector in enumerate(unit_vectors(20, seed=30)):
        log.enrol(f"p{number}", f"f{number}", vector)
    return log


@pytest.fixture
def faces(empty_milvus: MilvusConnection) -> MilvusFaces:
    return MilvusFaces(empty_milvus, STAMP, FLAT)


def index_of(log: ScriptedLog, faces: MilvusFaces) -> MilvusIndex:
    """As a worker that has just started."""
    return MilvusIndex(log, STAMP, faces)


def read_page(log: ScriptedLog, after: int) -> Page:
    (page,) = log.pages(after, STAMP)
    return page


def found(index: MilvusIndex, log: ScriptedLog, face_id: str) -> list[str]:
    probe = unit_vectors(20, seed=30)[int(face_id.removeprefix("f"))]
    return [hit.face_id for hit in index.search("base", probe, 3).nearest]


def row_ids(faces: MilvusFaces) -> set[str]:
    return {row["row_id"] for batch in faces.all_rows(["row_id"]) for row in batch}


def test_who_finds_the_position_of_another_worker_writes_nothing(
    log: ScriptedLog, faces: MilvusFaces
):
    index_of(log, faces).counts()
    pages: list[Page] = []
    index_of(log, faces).follow(pages.append)
    assert faces.position() == log.moment()
    assert [len(page.faces.face_ids) for page in pages] == [0]


def test_a_worker_killed_before_it_told_its_position_loses_nothing(
    log: ScriptedLog, faces: MilvusFaces
):
    faces.apply(read_page(log, 0))  # and then it was gone
    assert faces.position() == BEGINNING
    index = index_of(log, faces)
    assert found(index, log, "f7")[0] == "f7"
    assert (faces.position(), len(row_ids(faces))) == (log.moment(), 20)


def test_what_a_late_worker_writes_of_a_deleted_face_is_not_answered(
    log: ScriptedLog, faces: MilvusFaces
):
    late = read_page(log, 0)
    index = index_of(log, faces)
    index.counts()
    log.remove("f7")
    index.counts()
    faces.apply(late)
    assert "f7" not in found(index, log, "f7")
    assert len(found(index, log, "f7")) == 3


def test_a_late_worker_takes_away_what_it_wrote_too_late(log: ScriptedLog, faces: MilvusFaces):
    """It goes on from the page that it has read, and not from the position of the faster one."""
    fast, late = index_of(log, faces), LateLedger(log)
    fast.counts()
    late.before_second_page = lambda: (log.remove("f7"), fast.counts())
    MilvusIndex(late, OTHER_STAMP, faces).follow()
    assert not [row for row in row_ids(faces) if row.startswith("f7@")]


class LateLedger(ScriptedLog):
    """Two pages, and others who change the gallery in between."""

    def __init__(self, log: ScriptedLog) -> None:
        super().__init__()
        self._log = log
        self.before_second_page = lambda: None

    def moment(self) -> Moment:
        return self._log.moment()

    def pages(self, after: int, stamp: object):
        first = read_page(self._log, 0)
        self.before_second_page()
        yield replace(first, counts=None)
        yield read_page(self._log, first.moment.version)


def test_a_late_worker_does_not_delete_who_came_back(log: ScriptedLog, faces: MilvusFaces):
    index = index_of(log, faces)
    index.counts()
    before = log.now
    log.remove("f7")
    late = read_page(log, before)
    log.enrol("p7", "f7", unit_vectors(20, seed=30)[7])
    index.counts()
    faces.apply(late)
    assert found(index, log, "f7")[0] == "f7"


def test_vectors_of_another_gallery_are_not_taken_for_ours(log: ScriptedLog, faces: MilvusFaces):
    """Its database went another way to the same version, from a backup that was put back."""
    index_of(log, faces).counts()
    other = ScriptedLog("restored")
    for number, vector in enumerate(unit_vectors(20, seed=30)):
        other.enrol(f"q{number}", f"g{number}", vector)
    index_of(other, faces).counts()
    assert faces.position() == other.moment()
    assert {row.partition("@")[0] for row in row_ids(faces)} == {f"g{n}" for n in range(20)}


def test_a_gallery_exchanged_under_a_running_worker_is_noticed(
    log: ScriptedLog, faces: MilvusFaces
):
    index = index_of(log, faces)
    index.counts()
    log.name = "restored"
    log.faces_by_id.pop("f7")
    assert "f7" not in found(index, log, "f7")
    assert faces.position() == log.moment()
    assert len(row_ids(faces)) == 19


def test_a_late_worker_does_not_put_the_position_back(log: ScriptedLog, faces: MilvusFaces):
    index_of(log, faces).counts()
    faces.reach(Moment(5, log.name))
    assert faces.position() == log.moment()


def test_a_collection_that_somebody_dropped_is_built_anew(
    log: ScriptedLog, faces: MilvusFaces, empty_milvus: MilvusConnection
):
    index = index_of(log, faces)
    index.counts()
    empty_milvus.client.drop_collection(faces.name)
    with pytest.raises(StoreUnavailable):
        found(index, log, "f7")
    assert found(index, log, "f7")[0] == "f7"


def test_two_workers_may_make_the_collections_at_the_same_moment(
    log: ScriptedLog, empty_milvus: MilvusConnection
):
    """Both have seen that there is none."""
    workers = [MilvusFaces(empty_milvus, STAMP, FLAT) for _ in range(2)]
    (page,) = log.pages(0, STAMP)
    schema = face_schema(STAMP, dict.fromkeys(MODELS, 128))
    for worker in workers:
        worker._positions.start_anew()
        worker._rows.make(schema, face_indexes(FLAT))
        worker.apply(page)
        worker.reach(page.moment)
    assert (workers[0].position(), len(row_ids(workers[0]))) == (log.moment(), 20)


@pytest.mark.parametrize("kind", ["HNSW", "IVF_SQ8"])
def test_an_approximate_index_answers_with_the_true_figures(
    log: ScriptedLog, empty_milvus: MilvusConnection, kind: str
):
    index = index_of(log, MilvusFaces(empty_milvus, STAMP, KINDS[kind]))
    for probe in unit_vectors(20, seed=30):
        true = {hit.face_id: hit.similarity for hit in brute_force(log, probe, 20)}
        answered = index.search("base", probe, 3).nearest
        assert answered[0].similarity == 1.0
        assert [hit.similarity for hit in answered] == [
            pytest.approx(true[hit.face_id], abs=1.5e-6) for hit in answered
        ]


def test_vectors_of_two_stamps_never_lie_in_one_collection(
    log: ScriptedLog, faces: MilvusFaces, empty_milvus: MilvusConnection
):
    index_of(log, faces).counts()
    described = empty_milvus.client.describe_collection(faces.name)
    assert faces.name == collection_name(STAMP, FLAT) != collection_name(OTHER_STAMP, FLAT)
    assert faces.name != collection_name(STAMP, KINDS["HNSW"])
    assert described["consistency_level_name"] == "Strong"


def test_a_milvus_that_is_away_is_an_outage_of_the_store(log: ScriptedLog):
    pytest.importorskip("pymilvus")
    away = MilvusConnection("http://127.0.0.1:1")
    with pytest.raises(StoreUnavailable):
        MilvusIndex(log, STAMP, MilvusFaces(away, STAMP, FLAT)).counts()


def test_a_milvus_that_accepts_and_never_answers_is_given_up(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("pymilvus")
    monkeypatch.setattr("inference_server.gallery.milvus_connection.CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreUnavailable):
            MilvusIndex(log, STAMP, MilvusFaces(MilvusConnection(address), STAMP, FLAT)).counts()


def test_an_outage_of_milvus_is_answered_503_with_the_time_to_come_back(
    settings: Settings, file_store: SqlStore
):
    pytest.importorskip("pymilvus")
    pipeline = painted_pipeline()
    away = MilvusFaces(MilvusConnection("http://127.0.0.1:1"), STAMP, FLAT)
    index = MilvusIndex(SqlLedger(file_store), STAMP, away)
    client = create_app(settings, pipeline, Gallery(file_store, index)).test_client()
    response = upload(client, "/v1/match", paint(RED))
    assert (response.status_code, problem_of(response)) == (503, "store-unavailable")
    assert response.headers["Retry-After"]


@pytest.mark.parametrize("url", ["milvus", "ftp://host:1", "index.sqlite", "grpc://host"])
def test_what_is_no_address_of_a_milvus_is_refused(url: str):
    with pytest.raises(ValueError, match="neither"):
        check_index_url(url)


@pytest.mark.parametrize(
    ("url", "missing", "extra"),
    [
        ("index.db", "pymilvus", "milvus"),
        ("index.db", "milvus_lite", "milvus-lite"),
        ("http://milvus:19530", "pymilvus", "milvus"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, missing: str, extra: str
):
    there = {"pymilvus", "milvus_lite"} - {missing}
    monkeypatch.setattr(
        "inference_server.gallery.milvus_connection.find_spec",
        lambda name: name if name in there else None,
    )
    with pytest.raises(ValueError, match=f"{missing}, the extra `{extra}`"):
        check_index_url(url)


@pytest.mark.parametrize("page_faces", [1, 3, 100])
def test_the_pages_of_the_ledger_hold_what_the_change_log_holds(store: SqlStore, page_faces: int):
    for number in range(8):
        store.add_person(f"p{number % 3}")
        shadow = reference(f"p{number % 3}", f"f{number}", stamp=OTHER_STAMP)
        store.add_face(reference(f"p{number % 3}", f"f{number}"), [shadow])
    store.remove_face("p1", "f4")
    again = reference("p2", "f4")
    store.add_face(again, [replace(again, stamp=OTHER_STAMP)])
    store.remove_person("p0")
    ledger = SqlLedger(store, page_faces)
    for stamp in (STAMP, OTHER_STAMP):
        pages = list(ledger.pages(0, stamp))
        assert_the_same(pages, store.changes_since(0, stamp))
        assert pages[-1].counts == Counts(persons=2, faces=5, version=store.version())
        assert all(page.counts is None for page in pages[:-1])
        assert (len(pages) == 1) is (page_faces == 100)


def test_the_tally_follows_every_change_as_a_count_would(store: SqlStore):
    counted = []
    for change in (
        lambda: store.add_person("ann"),
        lambda: store.add_person("bob"),
        lambda: store.add_face(reference("ann", "f1")),
        lambda: store.add_face(reference("ann", "f2")),
        lambda: store.add_face(reference("ann", "f1")),
        lambda: store.add_face(reference("bob", "f3"), [reference("bob", "f3", stamp=OTHER_STAMP)]),
        lambda: store.add_face(reference("ann", "f2"), [reference("ann", "f2", stamp=OTHER_STAMP)]),
        lambda: store.remove_face("ann", "f1"),
        lambda: store.add_face(reference("ann", "f4", stamp=OTHER_STAMP)),
        lambda: store.add_face(reference("ann", "f4")),
        lambda: store.remove_person("ann"),
        lambda: store.remove_person("bob"),
    ):
        change()
        for stamp in (STAMP, OTHER_STAMP):
            (*_, last) = SqlLedger(store).pages(0, stamp)
            changes = store.changes_since(0, stamp)
            assert last.counts == Counts(
                len(set(changes.person_ids)), len(changes.face_ids), store.version()
            )
            counted.append(changes.face_ids)
    assert {len(face_ids) for face_ids in counted} == {0, 1, 2, 3}


def assert_the_same(pages: list[Page], changes: Changes) -> None:
    came = [
        (face_id, person_id)
        for page in pages
        for face_id, person_id in zip(page.faces.face_ids, page.faces.person_ids, strict=True)
    ]
    assert sorted(came) == sorted(zip(changes.face_ids, changes.person_ids, strict=True))
    assert frozenset().union(*(page.removed for page in pages)) == changes.removed
    versions = [page.moment.version for page in pages]
    assert versions == sorted(set(versions))


def test_the_ledger_reads_faces_in_their_order_page_by_page(store: SqlStore):
    store.add_person("ann")
    for face_id in ("f3", "f1", "f2"):
        store.add_face(reference("ann", face_id))
    ledger = SqlLedger(store, page_faces=2)
    first = ledger.faces_after("", STAMP)
    assert first.face_ids == ("f1", "f2")
    assert ledger.faces_after("f2", STAMP).face_ids == ("f3",)
    assert ledger.faces_after("f3", STAMP).face_ids == ()
    assert ledger.faces(["f2", "nobody"], STAMP).face_ids == ("f2",)
