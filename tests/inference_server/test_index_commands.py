"""`inference-server index …` on Milvus Lite, with the shipped networks' stamp."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from face_models.pipeline import Pipeline
from inference_server.cli import main
from inference_server.face_pipeline import stamp_of
from inference_server.gallery import ModelStamp
from inference_server.gallery.index_audit import Audit, Findings
from inference_server.gallery.ledger import SqlLedger
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import KINDS, face_rows
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN
from tests.inference_server.filled_gallery import fill
from tests.inference_server.references import STAMP, reference, unit_vectors

MANY = 10_000
RUNNING_S = 120


@pytest.fixture(scope="module")
def shipped() -> ModelStamp:
    return stamp_of(Pipeline.load())


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    pytest.importorskip("milvus_lite", reason="the extra `milvus` is not installed")
    return {
        "INTERNAL_TOKEN": TOKEN,
        "DATABASE_URL": f"sqlite:///{tmp_path}/gallery.db",
        "INDEX_URL": str(tmp_path / "index.db"),
        "WORKERS": "1",
    }


@pytest.fixture
def own_store(variables: dict[str, str]) -> Iterator[SqlStore]:
    opened = SqlStore(variables["DATABASE_URL"])
    yield opened
    opened.close()


@pytest.fixture
def index(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    """Runs a command in this process -> exit code and what it said."""
    for row in Settings.rows():
        monkeypatch.delenv(row.name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str]:
        code = 0
        try:
            main(["index", *words])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_a_built_index_is_verified_and_agrees_with_exact_search(
    index, own_store: SqlStore, shipped: ModelStamp
):
    fill(own_store, 300, shipped)
    code, said = index("build")
    assert code == 0
    assert "300 faces of 75 persons" in said
    code, said = index("verify", "--probes", "20")
    assert (code, "300 faces compared, 0 missing, 0 differing, 0 surplus" in said) == (0, True), (
        said
    )
    agreed = "index and exact search, 20 probes: top-1 100.0 %, top-5 100.0 %"
    assert [f"{model}: {agreed}" in said for model in ("base", "heatmap")] == [True, True]


def test_the_index_of_networks_that_nobody_loads_goes_with_their_vectors(
    index, own_store: SqlStore, variables: dict[str, str], shipped: ModelStamp
):
    fill(own_store, 5, STAMP)
    milvus = MilvusConnection(variables["INDEX_URL"])
    for kind in ("FLAT", "HNSW"):  # the latter from before INDEX_KIND was changed
        old = MilvusFaces(milvus, STAMP, KINDS[kind])
        MilvusIndex(SqlLedger(own_store), STAMP, old).follow()
    milvus.close()
    for face_id in ("f00000", "f00001"):
        person_id = "p00000"
        made = [reference(person_id, face_id, stamp=stamp) for stamp in (STAMP, shipped)]
        own_store.add_face(made[0], made[1:])
    code, said = index("retire")
    assert (code, f"No longer kept: (base {STAMP.base[:12]}" in said) == (0, True), said
    assert own_store.changes_since(0, shipped).face_ids == ("f00000", "f00001")
    assert len(own_store.changes_since(0, STAMP).face_ids) == 3, "who has no other vectors"
    assert milvus.client.list_collections() == ["reunite_moments"]
    milvus.close()


def test_an_index_that_was_never_built_is_found_missing_and_repaired(
    index, own_store: SqlStore, shipped: ModelStamp
):
    fill(own_store, 40, shipped)
    code, said = index("verify", "--probes", "2")
    assert (code, "40 missing" in said, "40 changes behind" in said) == (1, True, True)
    assert index("verify", "--repair", "--probes", "2")[0] == 0
    assert index("verify", "--probes", "2")[0] == 0


@pytest.mark.parametrize(
    ("variable", "value", "words", "named"),
    [
        ("INDEX_URL", "", ["build"], "INDEX_URL"),
        ("INDEX_URL", "ftp://x", ["verify"], "INDEX_URL"),
        ("SHADOW_WEIGHTS_DIR", "", ["switch"], "SHADOW_WEIGHTS_DIR"),
        ("WEIGHTS_DIR", "/proc/none", ["build"], "model.json"),
        ("INDEX_URL", "", ["switch", "--back"], "Nothing has been switched"),
        ("INDEX_URL", "http://127.0.0.1:1", ["build"], "does not answer"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    index, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: list[str], named: str
):
    monkeypatch.setenv(variable, value)
    code, said = index(*words)
    assert (code, named in said) == (2, True), said


@pytest.fixture
def faces(empty_milvus: MilvusConnection) -> MilvusFaces:
    return MilvusFaces(empty_milvus, STAMP, KINDS["FLAT"])


def test_every_kind_of_difference_is_found_and_mended(
    file_store: SqlStore, faces: MilvusFaces, empty_milvus: MilvusConnection
):
    fill(file_store, 30, STAMP)
    ledger = SqlLedger(file_store, page_faces=7)
    MilvusIndex(ledger, STAMP, faces).follow()
    known = ledger.faces(["f00003", "f00004", "f00005"], STAMP)
    strange, moved, gone = face_rows(known)
    strange = {**strange, "base": unit_vectors(1, seed=1)[0]}
    moved = {**moved, "person_id": "somebody"}
    surplus = {**gone, "row_id": "nobody@1", "face_id": "nobody", "version": 1}
    empty_milvus.client.upsert(faces.name, [strange, moved, surplus])
    faces.remove_rows([gone["row_id"]])
    audit = Audit(ledger, STAMP, faces)
    found = Findings(compared=30, behind=0, missing=1, differing=2, surplus=1)
    assert audit.run(repair=False) == found
    assert audit.run(repair=True) == found
    assert audit.run(repair=False).is_clean


@pytest.mark.system
def test_a_build_killed_in_the_middle_of_ten_thousand_loses_nothing(
    index, own_store: SqlStore, shipped: ModelStamp, variables: dict[str, str]
):
    fill(own_store, MANY, shipped)
    kill_during_build(variables)
    code, said = index("verify", "--probes", "1")
    missing = int(said.partition(" missing")[0].rpartition(" ")[2])
    assert (code, 0 < missing < MANY) == (1, True), said
    assert index("verify", "--repair", "--probes", "1")[0] == 0
    code, said = index("verify", "--probes", "1")
    assert (
        code,
        f"{MANY} faces compared, 0 missing, 0 differing, 0 surplus, 0 changes" in said,
    ) == (
        0,
        True,
    ), said


def kill_during_build(variables: dict[str, str]) -> None:
    """As soon as the bar has moved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inference_server.cli", "index", "build"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **variables,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    written = b""
    while f"000/{MANY}".encode() not in written:
        piece = os.read(process.stderr.fileno(), 4096)
        assert piece, f"it ended by itself: {written[-500:]!r}"
        written += piece
    process.kill()
    process.wait(RUNNING_S)
    process.stderr.close()
