"""What the gateway lists for a bulk enrolment is what the inference server enrols."""

import csv
import hashlib
from pathlib import Path

from gateway_server import manifest as gateway_manifest
from gateway_server.database import Database
from gateway_server.photo_store import PhotoName
from gateway_server.tables import Face, Person, Photo
from inference_server.bulk import Listed
from inference_server.bulk.sources import open_source

PHOTO = b"a photo"


async def test_a_gateways_manifest_is_a_source(tmp_path: Path):
    name = PhotoName(hashlib.sha256(PHOTO).hexdigest(), "image/jpeg")
    stored = tmp_path / "photos" / name.path
    stored.parent.mkdir(parents=True)
    stored.write_bytes(PHOTO)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/gateway.db")
    await database.prepare()
    async with database.write() as session:
        session.add(Person(id="ada", name="Ada", search_text="ada"))
        session.add(
            Photo(sha256=name.sha256, media_type=name.media_type, bytes=7, width=1, height=1)
        )
        await session.flush()
        session.add(Face(id="f1", person_id="ada", photo_sha256=name.sha256, face_index=2))
    file = tmp_path / "faces.csv"

    await gateway_manifest.write_manifest(database, tmp_path / "photos", file)
    await database.close()

    (listed,) = open_source(file, 100).photos()
    assert isinstance(listed, Listed)
    assert (listed.person_id, listed.face_id, listed.face) == ("ada", "f1", 2)
    assert listed.read() == PHOTO
    with file.open(encoding="utf-8", newline="") as opened:
        assert "Ada" not in "".join(map("".join, csv.reader(opened))), "it holds no names"
