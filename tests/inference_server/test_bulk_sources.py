"""Sources as strangers would make them: what is refused, and with which reason."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from inference_server.bulk import Listed, PhotoRefused, Refused, SourceUnusable
from inference_server.bulk.sources import open_source
from tests.inference_server.bulk_sources import SOURCES, as_folder, as_tar, as_zip, write_manifest

MAX_PHOTO_BYTES = 100_000
PHOTO = b"a photo"
MIB = 1024 * 1024


def told(source: Path) -> dict[str, bytes | str]:
    """Of each photo: its content, or why it is refused."""
    said: dict[str, bytes | str] = {}
    for one in open_source(source, MAX_PHOTO_BYTES).photos():
        if isinstance(one, Refused):
            said[one.name] = one.slug
            continue
        try:
            said[one.name] = one.read()
        except PhotoRefused as refused:
            said[one.name] = refused.slug
    return said


@pytest.mark.parametrize("form", SOURCES)
def test_photos_come_as_they_are_and_a_photo_too_large_is_not_read(form: str, tmp_path: Path):
    photos = {"ann/1.jpg": b"1", "ann/empty.jpg": b"", "bob/large.jpg": b"x" * 100_001}

    said = told(SOURCES[form](photos, tmp_path))

    assert {name.removeprefix("people/"): what for name, what in said.items()} == {
        "ann/1.jpg": b"1",
        "ann/empty.jpg": b"",
        "bob/large.jpg": "photo-too-large",
    }


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
def test_a_folder_that_is_no_identifier_is_refused_with_the_rule(form: str, tmp_path: Path):
    source = SOURCES[form]({"Ann Example/1.jpg": PHOTO, "ann/1.jpg": PHOTO}, tmp_path)

    listed = list(open_source(source, MAX_PHOTO_BYTES).photos())

    (refused,) = (one for one in listed if isinstance(one, Refused))
    assert (refused.person_id, refused.slug) == ("Ann Example", "invalid-option")
    assert "A-Za-z0-9_-" in refused.detail
    assert [one.person_id for one in listed if isinstance(one, Listed)] == ["ann"]


@pytest.mark.parametrize("form", SOURCES)
def test_what_systems_leave_behind_is_no_photo(form: str, tmp_path: Path):
    if form == "manifest":
        pytest.skip("a manifest names what it means")
    litter = {"ann/.DS_Store": PHOTO, "ann/._1.jpg": PHOTO, "ann/Thumbs.db": PHOTO}

    assert told(SOURCES[form]({"ann/1.jpg": PHOTO, **litter}, tmp_path)) == {"ann/1.jpg": PHOTO}


def test_links_in_a_folder_are_not_followed(tmp_path: Path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = as_folder({"ann/1.jpg": PHOTO}, tmp_path)
    (folder / "ann" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "bob").symlink_to(folder / "ann")
    (folder / "ann" / "folder.jpg").mkdir()

    assert told(folder) == {
        "ann/1.jpg": PHOTO,
        "ann/folder.jpg": "unreadable-entry",
        "ann/link.jpg": "photo-missing",
    }


@pytest.mark.parametrize(
    "path",
    ["../ann/1.jpg", "/ann/1.jpg", "ann/../../1.jpg", "1.jpg", "deep/ann/1.jpg", "ann\\1/1.jpg"],
)
@pytest.mark.parametrize("pack", [as_tar, as_zip])
def test_paths_that_lead_elsewhere_are_refused(pack, path: str, tmp_path: Path):
    said = told(pack({path: PHOTO}, tmp_path))

    assert list(said.values()) == ["unsafe-path"]


def test_whatever_is_no_plain_file_of_a_tar_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(f"ann/{number}.jpg")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)

    assert set(told(tmp_path / "p.tar").values()) == {"unreadable-entry"}


def test_a_link_in_a_zip_is_refused(tmp_path: Path):
    entry = zipfile.ZipInfo("ann/1.jpg")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")

    assert told(tmp_path / "p.zip") == {"ann/1.jpg": "unreadable-entry"}


def test_a_zipped_bomb_is_refused_unread(tmp_path: Path):
    said = told(as_zip({"ann/bomb.jpg": bytes(20 * MIB), "ann/1.jpg": PHOTO}, tmp_path))

    assert said == {"ann/bomb.jpg": "unreadable-entry", "ann/1.jpg": PHOTO}


def test_entries_that_share_bytes_end_the_run(tmp_path: Path):
    """The directory names one entry's bytes twice, as in Fifield's bomb."""
    source = as_zip({"ann/1.jpg": PHOTO, "ann/2.jpg": PHOTO}, tmp_path)
    data = bytearray(source.read_bytes())
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<L", data, second + 42, 0)
    source.write_bytes(data)

    with pytest.raises(SourceUnusable, match="overlap"):
        told(source)


def test_a_damaged_entry_is_refused_alone(tmp_path: Path):
    source = as_zip({"ann/1.jpg": b"photo-one" * 9, "ann/2.jpg": PHOTO}, tmp_path)
    data = source.read_bytes()
    at = data.index(b"ann/1.jpg") + len(b"ann/1.jpg")
    source.write_bytes(data[:at] + b"\xff\xff\xff" + data[at + 3 :])

    assert told(source) == {"ann/1.jpg": "unreadable-entry", "ann/2.jpg": PHOTO}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("one entry", tarfile.REGTYPE), ("a long header", tarfile.GNUTYPE_LONGNAME)],
)
def test_a_tar_that_becomes_far_larger_ends_the_run(name: str, kind: bytes, tmp_path: Path):
    entry = tarfile.TarInfo("ann/1.jpg")
    entry.type, entry.size = kind, 1024 * MIB
    source = tmp_path / "p.tgz"
    with gzip.open(source, "wb") as packed:
        packed.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):  # what it states is not even there
            packed.write(bytes(MIB))

    with pytest.raises(SourceUnusable, match=r"times as large|header"):
        told(source)


@pytest.mark.parametrize("data", [b"", b"no archive at all", b"\x1f\x8b\x08 no gzip", b"PK\3\4"])
def test_what_is_no_archive_is_said_to_be_none(data: bytes, tmp_path: Path):
    (tmp_path / "people.bin").write_bytes(data)

    with pytest.raises(SourceUnusable):
        told(tmp_path / "people.bin")


def test_a_tar_that_was_cut_short_gives_what_it_has_and_then_says_so(tmp_path: Path):
    source = as_tar({"ann/1.jpg": PHOTO, "ann/2.jpg": b"x" * 5000}, tmp_path)
    source.write_bytes(source.read_bytes()[:2500])
    photos = open_source(source, MAX_PHOTO_BYTES).photos()

    first = next(photos)
    assert isinstance(first, Listed)
    assert first.read() == PHOTO
    with pytest.raises(SourceUnusable):
        list(photos)


def test_a_source_that_is_not_there_is_said_to_be():
    with pytest.raises(SourceUnusable, match="neither"):
        open_source(Path("/nowhere/at/all"), MAX_PHOTO_BYTES)


@pytest.mark.parametrize(
    "rows",
    [
        [{"person": "ann", "photo": "1.jpg"}],
        [{"person_id": "ann"}],
        [{"person_id": "ann", "photo": "1.jpg", "name": "Ann"}],
    ],
)
def test_a_manifest_with_other_columns_is_refused(rows, tmp_path: Path):
    with pytest.raises(SourceUnusable, match="columns"):
        told(write_manifest(rows, tmp_path / "m.csv"))


def test_a_manifest_with_a_record_of_another_length_is_refused(tmp_path: Path):
    (tmp_path / "m.csv").write_text("person_id,photo\nann,1.jpg,2.jpg\n")

    with pytest.raises(SourceUnusable, match="Line 2"):
        told(tmp_path / "m.csv")


def test_a_manifest_does_not_lead_out_of_its_folder(tmp_path: Path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    photos = ["../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "gone.jpg"]
    rows = [{"person_id": "ann", "photo": photo} for photo in photos]

    assert list(told(write_manifest(rows, folder / "m.csv")).values()) == [
        "unsafe-path",
        "unsafe-path",
        "photo-missing",
        "photo-missing",
    ]


def test_an_entry_is_read_once_the_archive_has_been_walked_through(tmp_path: Path):
    """Readers are ahead of the photos that are taken, and behind the end of the list."""
    for pack in (as_zip, as_tar):
        listed = list(open_source(pack({"ann/1.jpg": PHOTO}, tmp_path), MAX_PHOTO_BYTES).photos())
        (one,) = listed
        assert isinstance(one, Listed)
        assert one.read() == PHOTO


def test_a_name_that_cannot_be_printed_can_be_reported(tmp_path: Path):
    data = io.BytesIO(PHOTO)
    entry = tarfile.TarInfo("ann/\x1b[2J.jpg")
    entry.size = len(PHOTO)
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.addfile(entry, data)

    assert told(tmp_path / "p.tar") == {"ann/�[2J.jpg": "unsafe-path"}
