"""What an archive may do to us: nothing. Its bytes are read by place, checked, and bounded."""

import io
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from gateway_server.imports.sources import ArchiveSource, FolderSource, check_name
from gateway_server.imports.zip_directory import Entry, read_bytes, read_entries
from gateway_server.problems import (
    BrokenArchive,
    PhotoMissing,
    PhotoNotInImport,
    Problem,
    TooManyEntries,
    UnreadableEntry,
    UnsafePath,
)
from tests.gateway_server.import_files import make_archive, make_table

CONTENT = {"a.jpg": b"\xff\xd8\xff" + bytes(range(256)) * 40, "b/ü.png": b"x" * 5000, "c": b""}
MOST = 100


def write(tmp_path: Path, data: bytes, name: str = "photos.zip") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {one.name: b"".join(read_bytes(path, one.place)) for one in read_entries(path, MOST)}


def streamed(photos: dict[str, bytes]) -> bytes:
    """As a program writes that cannot go back: sizes follow each entry's bytes."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        def tell(self):
            raise io.UnsupportedOperation

    data = Pipe()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, photo in photos.items():
            archive.writestr(name, photo)
    return data.getvalue()


def zip64(photos: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, photo in photos.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(photo)
    return data.getvalue()


def commented(photos: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.comment = b"hello" * 100
        archive.mkdir("b")
        for name, photo in photos.items():
            archive.writestr(name, photo)
    return data.getvalue()


@pytest.mark.parametrize("pack", [make_archive, streamed, zip64, commented])
def test_an_archive_is_read_whoever_packed_it(tmp_path, pack):
    assert contents(write(tmp_path, pack(CONTENT))) == CONTENT


def test_more_entries_than_16_bits_count_are_read(tmp_path):
    names = {f"{number:05}": b"" for number in range(70_000)}
    path = write(tmp_path, make_archive(names, zipfile.ZIP_STORED))

    assert [one.name for one in read_entries(path, 70_000)] == list(names)


def test_a_name_in_utf8_is_known_although_its_flag_is_missing(tmp_path):
    data = bytearray(make_archive({"ü.jpg": b"x"}))
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", data, data.index(signature) + at, 0)

    assert [one.name for one in read_entries(write(tmp_path, bytes(data)), MOST)] == ["ü.jpg"]


def patched(field: str, value: int, photos: dict[str, bytes] = CONTENT) -> bytes:
    """One number of the first directory entry, or of the directory's end, said differently."""
    entry = {
        "flags": (8, "<H"),
        "method": (10, "<H"),
        "crc": (16, "<L"),
        "packed": (20, "<L"),
        "size": (24, "<L"),
        "disk": (34, "<H"),
        "at": (42, "<L"),
    }
    end = {"this disk": (4, "<H"), "entries": (10, "<H"), "directory": (16, "<L"), "all": (8, "<H")}
    data = bytearray(make_archive(photos))
    place, shape = (entry | end)[field]
    start = data.index(b"PK\1\2") if field in entry else data.rindex(b"PK\5\6")
    struct.pack_into(shape, data, start + place, value)
    return bytes(data)


WHOLE = make_archive(CONTENT)
BROKEN = {
    "nothing": b"",
    "no ZIP": b"people" * 1000,
    "a photo": b"\xff\xd8\xff" + bytes(1000),
    "truncated": WHOLE[:-10],
    "its second half": WHOLE[len(WHOLE) // 2 :],
    "something after it": WHOLE + b"x",
    "part of several": patched("this disk", 1),
    "an entry on another disk": patched("disk", 1),
    "fewer entries than here": patched("entries", 2),
    "more entries than there are": patched("all", 9),
    "directory beyond the end": patched("directory", 10**9),
    "directory elsewhere": patched("directory", 3),
    "overlapping entries": patched("packed", 6000),
    "an entry beyond the directory": patched("at", 10**8),
    "ZIP64 without its end": patched("directory", 0xFFFFFFFF),
    "ZIP64 without sizes": patched("size", 0xFFFFFFFF),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_archive_that_can_be_read_in_two_ways_or_none_is_refused(tmp_path, case):
    with pytest.raises(BrokenArchive):
        list(read_entries(write(tmp_path, BROKEN[case]), MOST))


def test_an_archive_of_one_bomb_told_of_many_times_is_refused(tmp_path):
    """Many directory entries for the same bytes (Fifield, 2019)."""
    data = make_archive({"a.jpg": bytes(10_000)})
    start, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    directory = data[start:end] * 3
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory), start, 0)

    with pytest.raises(BrokenArchive, match="overlap"):
        list(read_entries(write(tmp_path, data[:start] + directory + tail), MOST))


def test_more_entries_than_allowed_are_not_even_read(tmp_path):
    with pytest.raises(TooManyEntries):
        next(read_entries(write(tmp_path, WHOLE), 2))


def first(tmp_path: Path, data: bytes) -> tuple[Path, Entry]:
    path = write(tmp_path, data)
    return path, next(read_entries(path, MOST))


@pytest.mark.parametrize(
    ("field", "value"),
    [("flags", 0x1), ("flags", 0x41), ("flags", 0x2000), ("method", 12), ("method", 99)],
)
def test_an_encrypted_or_oddly_packed_entry_is_no_photo(tmp_path, field, value):
    _, entry = first(tmp_path, patched(field, value))

    assert entry.fault is not None


def test_a_link_is_no_photo(tmp_path):
    info = zipfile.ZipInfo("a.jpg")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(info, "/etc/passwd")

    assert first(tmp_path, data.getvalue())[1].fault == "The entry is a link"


def test_a_bomb_is_known_by_what_it_states(tmp_path):
    _, entry = first(tmp_path, make_archive({"a.jpg": bytes(5_000_000)}))

    assert "100 times" in str(entry.fault)


@pytest.mark.parametrize(
    ("field", "value"),
    [("crc", 1), ("size", 100), ("size", 20_000), ("packed", 20), ("at", 40), ("method", 0)],
)
def test_an_entry_that_is_not_what_it_states_ends_as_soon_as_that_shows(tmp_path, field, value):
    path, entry = first(tmp_path, patched(field, value))

    with pytest.raises(UnreadableEntry):
        list(read_bytes(path, entry.place))


def test_a_bomb_that_states_little_is_not_inflated_further(tmp_path):
    """A gigabyte behind a statement of a few bytes: one piece is made of it, not more."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    archive = make_archive({"a.jpg": b"x" * 1000, "b": bomb}, zipfile.ZIP_STORED)
    path, entry = first(tmp_path, archive)
    data = bytearray(path.read_bytes())
    at = data.index(bomb[:100])
    place = type(entry.place)(at - 31, len(bomb), 1000, 8, 0)
    assert data[at - 31 :].startswith(b"PK\3\4")

    pieces = read_bytes(path, place)
    with pytest.raises(UnreadableEntry, match="more than the 1000 bytes"):
        next(pieces)


NAMES = {
    "../a.jpg": UnsafePath,
    "a/../../b.jpg": UnsafePath,
    "/etc/passwd": UnsafePath,
    "C:\\a.jpg": UnsafePath,
    "C:a.jpg": UnsafePath,
    "a\\b.jpg": UnsafePath,
    "a//b.jpg": UnsafePath,
    "./a.jpg": UnsafePath,
    "a\0.jpg": UnsafePath,
    "a\n.jpg": UnsafePath,
    "a\udcff.jpg": UnsafePath,
    "x" * 1001: UnsafePath,
    "": PhotoMissing,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(NAMES[name]):
        check_name(name)


def problems(source) -> list[Problem | None]:
    return [row.problem for row in source.rows()]


def test_rows_are_refused_one_by_one_for_their_entries(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("good.jpg", "twice.jpg", "../slip.jpg", "large.jpg"):
            archive.writestr(name, bytes(2000) if name == "large.jpg" else name)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("twice.jpg", b"another")
    named = ("good.jpg", "twice.jpg", "../slip.jpg", "large.jpg", "Good.jpg")
    table = write(tmp_path, make_table([{"name": "A", "photo": name} for name in named]), "t.csv")

    source = ArchiveSource(table, write(tmp_path, data.getvalue()), 100, 1000)

    slugs = [problem and problem.slug for problem in problems(source)]
    expected = ["unreadable-entry", "unsafe-path", "photo-too-large", "photo-not-in-import"]
    assert slugs == [None, *expected]


def test_a_name_is_the_same_however_it_is_composed(tmp_path):
    table = write(tmp_path, make_table([{"name": "A", "photo": "Zo\u00eb.jpg"}]), "t.csv")
    archive = write(tmp_path, make_archive({"Zoe\u0308.jpg": b"x"}))

    assert problems(ArchiveSource(table, archive, 100, 1000)) == [None]


def photo(folder: Path, name: str) -> bytes:
    return b"".join(FolderSource(folder, None, 100).photo(name, None))


def test_a_folders_photo_is_read_and_no_link_is_followed(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "ada").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (home / "ada" / "1.jpg").write_bytes(b"one")
    (home / "ada" / "link.jpg").symlink_to(outside / "secret.jpg")
    (home / "bob").symlink_to(outside)
    (home / "ada" / "within.jpg").symlink_to("1.jpg")

    assert photo(home, "ada/1.jpg") == b"one"
    for name in ("ada/link.jpg", "bob/secret.jpg", "ada/within.jpg", "ada", "ada/none.jpg", "x/y"):
        with pytest.raises(PhotoNotInImport):
            photo(home, name)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails")
def test_a_file_that_fails_while_it_is_read_is_refused_by_itself():
    source = FolderSource(Path("/proc/self"), None, 10)

    with pytest.raises(UnreadableEntry, match="Input/output error"):
        b"".join(source.photo("mem", None))


def test_a_pipe_in_a_folder_keeps_nobody_waiting(tmp_path):
    subprocess.run(["mkfifo", tmp_path / "pipe.jpg"], check=True)

    with pytest.raises(PhotoNotInImport):
        photo(tmp_path, "pipe.jpg")


def test_a_folder_for_each_person_makes_a_row_for_each_photo(tmp_path):
    for name in ("Zoë/2.jpg", "Zoë/1.jpg", "Ada/1.png", ".git/x", "Ada/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loose.jpg").write_bytes(b"x")

    rows = [row.record.texts for row in FolderSource(tmp_path, None, 100).rows()]

    assert rows == [
        {"name": "Ada", "photo": "Ada/1.png"},
        {"name": "Zoë", "photo": "Zoë/1.jpg"},
        {"name": "Zoë", "photo": "Zoë/2.jpg"},
    ]
