"""What `gateway-server reenrol --manifest` lists is what a reenrolment would send."""

import csv
import hashlib
from pathlib import Path

import pytest

from gateway_server import manifest
from gateway_server.cli import main
from gateway_server.settings import SettingsError
from tests.gateway_server.conftest import ONE_ENGINE
from tests.gateway_server.photos import make_photo


def database_of(running):
    return running.gateway.queue._database


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


async def test_every_face_is_listed_with_its_photo(
    running, operator, inference, enrol, photo_dir, monkeypatch
):
    monkeypatch.setattr(manifest, "FACES_AT_A_TIME", 2)
    people = [await enrol(f"person {seed}", make_photo(seed)) for seed in range(3)]
    found = await enrol("found", make_photo(9))
    await operator.patch(f"/v1/persons/{found['id']}", json={"status": "found"})
    file = photo_dir.parent / "faces.csv"

    assert await manifest.write_manifest(database_of(running), photo_dir, file) == 3

    rows = read(file)
    listed = {(row["person_id"], row["face_id"]) for row in rows}
    assert listed == {(one["id"], one["faces"][0]["face_id"]) for one in people}
    for row in rows:
        photo = file.parent / row["photo"]
        assert hashlib.sha256(photo.read_bytes()).hexdigest() == photo.stem
        assert row["face"] == ""


async def test_a_manifest_lies_where_it_can_name_the_photos(running, photo_dir, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "faces.csv"

    with pytest.raises(SettingsError, match="PHOTO_DIR"):
        await manifest.write_manifest(database_of(running), photo_dir, elsewhere)


async def test_a_file_that_is_there_is_left_alone(running, photo_dir):
    file = photo_dir / "faces.csv"
    file.write_text("somebody's\n")

    with pytest.raises(SettingsError, match="exists"):
        await manifest.write_manifest(database_of(running), photo_dir, file)

    assert file.read_text() == "somebody's\n"


@ONE_ENGINE
def test_the_command_needs_no_secret(environment, photo_dir, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("INTERNAL_TOKEN")
    photo_dir.mkdir(exist_ok=True)

    assert main(["reenrol", "--manifest", str(photo_dir / "faces.csv")]) == 0

    assert "0 faces" in capsys.readouterr().out
