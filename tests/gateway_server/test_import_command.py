"""`gateway-server import FOLDER`: people who lie on this host, and what is left of a kill."""

import asyncio
import csv
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from gateway_server.cli import main
from gateway_server.imports import command, service
from gateway_server.imports.service import FolderOrder
from gateway_server.problems import ImportConflict, ImportNotFound, InvalidTable
from gateway_server.tables import Face, Person
from tests.gateway_server.conftest import ONE_ENGINE, RETRIED_SOON, run_gateway
from tests.gateway_server.photos import make_photo

pytestmark = RETRIED_SOON


@pytest.fixture(autouse=True)
def looking_often(monkeypatch):
    monkeypatch.setattr(service, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(command, "PROGRESS_EVERY_S", 0.01)


@pytest.fixture
def home(tmp_path) -> Path:
    """Two people with two photos each, in a folder of their own."""
    for seed, name in enumerate(("Ada/1.jpg", "Ada/2.jpg", "Zoë/1.jpg", "Zoë/2.jpg"), start=1):
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_photo(seed))
    return tmp_path / "home"


def write_table(home: Path, rows: list[dict[str, str]]) -> Path:
    with (home / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return home / "people.csv"


async def begin(running, home: Path, table: Path | None = None, **how: bool):
    order = FolderOrder(home, table)
    return await running.gateway.imports.begin_folder(
        order, **{"resume": False, "anew": False, **how}
    )


async def names_and_faces(running) -> dict[str, int]:
    async with running.gateway.queue._database.read() as session:
        persons = (await session.scalars(select(Person))).all()
        return {person.name: len(person.faces) for person in persons}


async def test_a_folder_for_each_person_is_imported(running, home, capsys):
    status = await command.report_import(running.gateway, await begin(running, home))

    assert status == 0
    assert await names_and_faces(running) == {"Ada": 2, "Zoë": 2}
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "4 rows: 4 enrolled, 0 enrolled before, 0 refused, 0 given up for now"
    assert any("% of" in line for line in said)


async def test_a_folders_table_says_who_they_are(running, home, capsys):
    (home / "link.jpg").symlink_to("/etc/passwd")
    table = write_table(
        home,
        [
            {"name": "Ada", "reference": "17", "photo": "Ada/1.jpg"},
            {"name": "Ada", "reference": "17", "photo": "Zoë/1.jpg"},
            {"name": "Eve", "reference": "", "photo": "link.jpg"},
            {"name": "Eve", "reference": "", "photo": "../../etc/passwd"},
        ],
    )

    status = await command.report_import(running.gateway, await begin(running, home, table))

    assert status == 1
    assert await names_and_faces(running) == {"Ada": 2}
    refused = [line for line in capsys.readouterr().out.splitlines() if "refused: row" in line]
    assert [line.split(": ")[2] for line in refused] == ["photo-not-in-import", "unsafe-path"]


async def test_a_killed_command_is_resumed_and_enrols_nobody_twice(environment, inference, home):
    environment |= {"IMPORT_BATCH": "1"}
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as running:
        run = await begin(running, home)
        imports = running.gateway.imports
        for _ in range(3):  # the rows are read, and two of them worked off
            await imports._take_turn(run, None)
        with pytest.raises(ImportConflict):
            await begin(running, home)

    async with run_gateway(environment, transport) as running:
        again = await begin(running, home, resume=True)
        await asyncio.gather(*(running.gateway.imports.work_off(again) for _ in range(2)))

        assert again.id == run.id
        assert await names_and_faces(running) == {"Ada": 2, "Zoë": 2}
        with pytest.raises(ImportNotFound):
            await begin(running, home, resume=True)
        async with running.gateway.queue._database.read() as session:
            ids = {face.id for face in await session.scalars(select(Face))}
    assert {face for faces in inference.gallery.values() for face in faces} == ids


async def test_an_import_that_was_broken_off_can_be_left_behind(running, home):
    first = await begin(running, home)

    second = await begin(running, home, anew=True)

    left = await running.gateway.imports.ledger.get(first.id)
    assert (left.status, second.id != first.id) == ("failed", True)


async def test_a_table_that_cannot_be_read_ends_the_import(running, home):
    table = home / "people.csv"
    table.write_bytes(b"photo,colour\n")

    with pytest.raises(InvalidTable):
        await command.report_import(running.gateway, await begin(running, home, table))

    table.write_bytes(b"photo,name\nAda/1.jpg,Ada\n")
    assert await command.report_import(running.gateway, await begin(running, home, table)) == 0


@ONE_ENGINE
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{home}/none"], "is no folder"),
        (["{home}", "--table", "none.csv"], "is no file"),
        (["{home}", "--resume"], "No import of this folder was broken off"),
    ],
)
def test_a_command_that_cannot_begin_says_why(environment, home, monkeypatch, capsys, words, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert main(["import", *(word.format(home=home) for word in words)]) == 1
    assert said in capsys.readouterr().err
