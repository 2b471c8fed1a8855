"""Photos are stored whole or not at all, named by their content, and never lost to a race."""

import asyncio
import errno
import hashlib
import os
from pathlib import Path

import pytest

from gateway_server.database import Database
from gateway_server.intake import CheckedPhoto
from gateway_server.photo_archive import PhotoArchive
from gateway_server.photo_store import PhotoFolder, PhotoName
from gateway_server.problems import PhotoStoreUnavailable
from gateway_server.tables import ApiKey, Photo, Search
from tests.gateway_server.photos import make_photo


class InterruptedWorkError(Exception):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> PhotoFolder:
    opened = PhotoFolder(tmp_path / "photos")
    opened.prepare()
    return opened


def check(folder: PhotoFolder, data: bytes) -> CheckedPhoto:
    spool = folder.spool()
    spool.write(data)
    return CheckedPhoto(spool, PhotoName(spool.finish(), "image/jpeg"), 64, 48)


def test_half_photos_of_a_killed_process_go_at_the_next_start_but_not_those_still_arriving(
    folder: PhotoFolder, tmp_path: Path
) -> None:
    abandoned, arriving = tmp_path / "photos" / "arriving" / "arriving-dead", folder.spool()
    abandoned.write_bytes(b"half a pho")
    PhotoFolder(tmp_path / "photos").prepare()
    left = [path.exists() for path in (abandoned, arriving.path)]
    arriving.discard()
    assert left == [False, True]


def test_a_photo_that_waits_for_its_name_is_not_swept(folder: PhotoFolder, tmp_path: Path) -> None:
    photo = check(folder, b"content")
    PhotoFolder(tmp_path / "photos").prepare()
    assert photo.spool.path.exists()
    photo.spool.discard()


def test_a_spool_may_be_written_anew(folder: PhotoFolder) -> None:
    spool = folder.spool()
    spool.write(b"a long first content")
    assert spool.read() == b"a long first content"
    spool.replace(b"short")
    assert (spool.read(), spool.size_bytes) == (b"short", 5)
    assert spool.finish() == hashlib.sha256(b"short").hexdigest()
    spool.discard()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_saved_photo_is_found_under_its_sha256(folder: PhotoFolder, tmp_path: Path):
    photo = check(folder, b"content")
    await folder.save(photo.spool, photo.name)

    sha256 = hashlib.sha256(b"content").hexdigest()
    assert photo.name.sha256 == sha256
    assert files(tmp_path / "photos") == [f"{sha256[:2]}/{sha256[2:4]}/{sha256}.jpg"]
    assert await folder.open(photo.name) == b"content"


async def test_a_spool_that_is_put_down_leaves_nothing(folder: PhotoFolder, tmp_path: Path):
    spool = folder.spool()
    spool.write(b"half a pho")
    spool.discard()
    spool.discard()

    assert files(tmp_path / "photos") == []


async def test_a_saved_spool_may_be_put_down(folder: PhotoFolder):
    photo = check(folder, b"content")
    await folder.save(photo.spool, photo.name)
    photo.spool.discard()

    assert await folder.open(photo.name) == b"content"


async def test_deleting_twice_is_no_error(folder: PhotoFolder, tmp_path: Path):
    photo = check(folder, b"content")
    await folder.save(photo.spool, photo.name)

    await folder.delete(photo.name)
    await folder.delete(photo.name)

    assert files(tmp_path / "photos") == []


async def test_photos_are_for_the_gateways_user_alone(folder: PhotoFolder, tmp_path: Path):
    photo = check(folder, b"content")
    await folder.save(photo.spool, photo.name)

    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "photos").rglob("*")}
    assert modes == {0}


async def test_a_missing_photo_is_an_outage_without_its_path(folder: PhotoFolder, tmp_path: Path):
    with pytest.raises(PhotoStoreUnavailable) as outage:
        await folder.open(PhotoName("0" * 64, "image/jpeg"))

    assert str(tmp_path) not in str(outage.value)


def test_a_full_disk_is_an_outage(folder: PhotoFolder, tmp_path: Path):
    spool = folder.spool()
    spool._file.close()
    spool._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - the spool closes it

    with pytest.raises(PhotoStoreUnavailable, match=os.strerror(errno.ENOSPC)):
        spool.write(b"content")

    spool.discard()
    assert files(tmp_path / "photos") == []


def test_a_folder_that_cannot_be_made_is_an_outage(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(PhotoStoreUnavailable):
        PhotoFolder(tmp_path / "file" / "photos").prepare()


async def refer(database: Database, archive: PhotoArchive, photo: CheckedPhoto) -> None:
    """What a search does: keep the photo and refer to it, at once."""
    async with database.write() as session:
        await archive.keep(session, [photo])
        session.add(
            Search(
                status="done",
                key_id="key",
                request_id="test",
                photo_sha256=photo.name.sha256,
                top_k=5,
                model="heatmap",
            )
        )


@pytest.fixture
async def archive(database: Database, folder: PhotoFolder) -> PhotoArchive:
    async with database.write() as session:
        session.add(ApiKey(id="key", name="test", role="mobile", secret_sha256=""))
    return PhotoArchive(database, folder)


async def test_a_photo_without_references_is_forgotten(database, archive, folder, tmp_path):
    photo = check(folder, b"content")
    async with database.write() as session:
        await archive.keep(session, [photo])

    await archive.forget([photo.name.sha256, "0" * 64])

    assert files(tmp_path / "photos") == []
    async with database.read() as session:
        assert await session.get(Photo, photo.name.sha256) is None


async def test_a_photo_with_a_reference_stays(database, archive, folder):
    photo = check(folder, b"content")
    await refer(database, archive, photo)

    await archive.forget([photo.name.sha256])

    assert (await archive.read(photo.name.sha256)).data == b"content"


async def test_keeping_and_forgetting_at_the_same_time_never_loses_a_photo(
    database, archive, folder
):
    """Each of several photos is forgotten by one and needed by another at once."""
    for seed in range(8):
        data = make_photo(seed)
        async with database.write() as session:
            await archive.keep(session, [check(folder, data)])
        wanted = check(folder, data)

        await asyncio.gather(
            archive.forget([wanted.name.sha256]),
            refer(database, archive, wanted),
            archive.forget([wanted.name.sha256]),
        )

        assert (await archive.read(wanted.name.sha256)).data == data


async def test_what_a_transaction_does_not_keep_is_not_in_the_database(database, archive, folder):
    photo = check(folder, b"content")

    async def crash_after_the_file_was_named():
        async with database.write() as session:
            await archive.keep(session, [photo])
            raise InterruptedWorkError

    with pytest.raises(InterruptedWorkError):
        await crash_after_the_file_was_named()

    async with database.read() as session:
        assert await session.get(Photo, photo.name.sha256) is None
    await refer(database, archive, check(folder, b"content"))
    assert (await archive.read(photo.name.sha256)).data == b"content"
