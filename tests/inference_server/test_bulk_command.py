"""`inference-server enrol`, as it is typed, with the networks that are shipped."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from face_models.pipeline import Pipeline
from inference_server.app import assemble
from inference_server.cli import main
from inference_server.face_pipeline import stamp_of
from inference_server.gallery.store import SqlStore
from inference_server.gallery.switches import SqlSwitches
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN, enrol
from tests.inference_server.painted_people import paint
from tests.inference_server.references import OTHER_STAMP

PEOPLE = Path(__file__).parents[1] / "data" / "people"
Type = Callable[..., int]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """The exit status of `inference-server enrol …`, without a token in the environment."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/bulk.db")
    monkeypatch.delenv("INTERNAL_TOKEN", raising=False)

    def run(*arguments: object) -> int:
        try:
            main(["enrol", *map(str, arguments)])
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for person in ("demo-ada", "demo-bo"):
        shutil.copytree(PEOPLE / person, tmp_path / "people" / person)
    return tmp_path / "people"


def faces(url: str) -> dict[tuple[str, bytes], tuple[bytes, bytes]]:
    store = SqlStore(url)
    found = store.changes_since(0, stamp_of(Pipeline.load()))
    store.close()
    rows = zip(found.person_ids, found.vectors["base"], found.vectors["heatmap"], strict=True)
    return {(person, base.tobytes()): heatmap.tobytes() for person, base, heatmap in rows}


@pytest.mark.system
def test_the_shipped_networks_answer_as_over_http(
    typed: Type, people: Path, tmp_path: Path, capsys
):
    assert typed(people) == 0
    assert "8 photos: 8 enrolled, 0 enrolled before, 0 refused" in capsys.readouterr().out

    url = f"sqlite:///{tmp_path}/http.db"
    app = assemble(Settings.from_mapping({"INTERNAL_TOKEN": TOKEN, "DATABASE_URL": url}))
    for number, photo in enumerate(sorted(people.glob("*/*"))):
        answer = enrol(app.test_client(), photo.parent.name, photo.read_bytes(), f"f{number}")
        assert answer.status_code == 201
    assert faces(f"sqlite:///{tmp_path}/bulk.db") == faces(url)


@pytest.mark.system
def test_a_refused_photo_is_reported_and_ends_with_1(typed: Type, people: Path, tmp_path: Path):
    (people / "demo-bo" / "nobody.png").write_bytes(paint())
    (people / "no photo.txt").write_text("beside the people's folders")

    assert typed(people, "--report", tmp_path / "refused.csv", "--processes", 1) == 1

    with (tmp_path / "refused.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["photo"], row["person_id"], row["type"]) == (
        "demo-bo/nobody.png",
        "demo-bo",
        "no-face",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "neither a folder nor a file"),
        ([".", "--report", "no/such/folder/r.csv"], "--report"),
        ([".", "--processes", "0"], "--processes"),
    ],
)
def test_what_cannot_be_done_is_said_and_ends_with_2(typed: Type, arguments, said: str, capsys):
    assert typed(*arguments) == 2
    assert said in capsys.readouterr().err


def test_a_database_that_is_none_is_said_and_ends_with_2(
    typed: Type, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DATABASE_URL", "mysql://nobody")
    assert typed(tmp_path) == 2
    assert "DATABASE_URL" in capsys.readouterr().err


def test_networks_in_the_shadow_are_not_left_out_silently(
    typed: Type, people: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
):
    monkeypatch.setenv("SHADOW_WEIGHTS_DIR", str(tmp_path))
    assert typed(people) == 2
    assert "SHADOW_WEIGHTS_DIR" in capsys.readouterr().err


def test_networks_that_no_search_asks_are_refused(typed: Type, people: Path, tmp_path, capsys):
    store = SqlStore(f"sqlite:///{tmp_path}/bulk.db")
    SqlSwitches(store).switch(OTHER_STAMP, stamp_of(Pipeline.load()))
    store.close()
    assert typed(people) == 2
    assert "found by no search" in capsys.readouterr().err
