"""An import whose gateway is killed again and again: each row comes to its own end, once."""

import csv
import io
import random
import re
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mobile_client_mock.client import Connection
from mobile_client_mock.photo import remake, shrink
from mobile_client_mock.transport import USUAL, Transport
from tests.system.drills.estate import Estate, Stores, demo_people, estate, wait_until
from tests.system.drills.fleet import STUBBORN
from tests.system.drills.size import Size

END_WITHIN_S = 180.0
PHOTOS_EACH = 2
BATCH = "4"  # rows in a transaction: a kill falls between them as often as into one
_ENDS: Sequence[str] = (  # of one row after the other
    "enrolled", "enrolled", "no-face", "enrolled", "photo-not-in-import",
    "enrolled", "unreadable-image", "enrolled", "duplicate", "enrolled",
)  # fmt: skip
_ENDED = """
    SELECT count(*) FROM import_row LEFT JOIN face ON face.id = import_row.face_id
    WHERE import_row.outcome IN ('refused', 'duplicate') OR face.status = 'enrolled'
"""


@dataclass(frozen=True)
class Import:
    """`ends`: what must become of each row, by its number: an outcome, or a problem's slug."""

    table: bytes
    archive: bytes
    ends: Mapping[int, str]


def import_killed(folder: Path, size: Size, stores: Stores | None = None) -> str:
    """Kill -9 of the only gateway, at random moments of an import, the first as it arrives."""
    order = _make(size.uploads)
    settings = {
        "IMPORT_DIR": str(folder / "imports"),
        "IMPORT_BATCH": BATCH,
    }
    with estate(folder, stores, settings=settings) as house, ThreadPoolExecutor(1) as sender:
        started_s = time.monotonic()
        operator = Transport(Connection(house.urls[0], house.operator_key, STUBBORN), USUAL)
        sent = sender.submit(_send, operator, order)
        _kill_at_random(house, size.kills, len(order.ends))
        address = f"v1/imports/{sent.result()}"
        ended = wait_until(lambda: _run(operator, address)["status"] != "running", END_WITHIN_S)
        run = _run(operator, address)
        assert ended, f"the import is stuck: {run}"
        seconds = time.monotonic() - started_s
        _check_rows(operator, address, order)
        _check_nothing_is_left(house)
        left = _sweep(house)
        _check_photos(house, Counter(order.ends.values())["enrolled"])
    ends = ", ".join(f"{count} {end}" for end, count in Counter(order.ends.values()).items())
    return (
        f"{len(order.ends)} rows: {ends}; 0 lost, 0 doubled (gateway killed {size.kills} times; "
        f"{seconds:.0f} s; {left} photos left for the daily retention)"
    )


def _make(rows: int) -> Import:
    """Every row has a photo of its own, but for a duplicate, which has that of the row before."""
    originals = [shrink(one.enrolled[0]) for one in demo_people(10)]
    ends = {number + 2: _ENDS[number % len(_ENDS)] for number in range(rows)}
    text, packed, person = io.StringIO(), io.BytesIO(), 0
    table = csv.writer(text)
    table.writerow(["name", "reference", "photo"])
    with zipfile.ZipFile(packed, "w") as archive:
        for number, end in ends.items():
            name = f"{number - (end == 'duplicate')}.jpg"
            person += number % PHOTOS_EACH == 0 and end != "duplicate"
            table.writerow([f"Person {person}", f"case {person}", name])
            photo = remake(originals[number % len(originals)], number.to_bytes(3, "big")).data
            if end == "no-face":
                photo = _wall(number)
            if end == "unreadable-image":
                photo = photo[:40]  # a header and no picture
            if end not in {"photo-not-in-import", "duplicate"}:
                archive.writestr(name, photo)
    return Import(text.getvalue().encode(), packed.getvalue(), ends)


def _wall(number: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (320, 320), (number % 256, number // 256, 128)).save(data, "JPEG")
    return data.getvalue()


def _send(operator: Transport, order: Import) -> str:
    """The import's id, however often the gateway dies before it answers."""
    files = {"table": ("people.csv", order.table), "archive": ("photos.zip", order.archive)}
    return str(operator.ask("POST", "v1/imports", files=files).document["id"])


def _kill_at_random(house: Estate, kills: int, rows: int) -> None:
    dice = random.Random(6)
    for number in range(kills):
        wanted = number * rows // kills
        assert wait_until(lambda wanted=wanted: _ended(house) >= wanted, END_WITHIN_S, 0.01)
        time.sleep(dice.uniform(0, 0.3))
        house.gateways[0].server.kill()
        house.gateways[0].start()
        house.gateways[0].server.wait_until_ready()


def _ended(house: Estate) -> int:
    return int(house.rows(_ENDED)[0][0])


def _run(operator: Transport, address: str) -> Mapping[str, Any]:
    return operator.ask("GET", address).document


def _check_rows(operator: Transport, address: str, order: Import) -> None:
    told: dict[int, str] = {}
    cursor = ""
    while True:
        query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = operator.ask("GET", f"{address}/rows", params=query).document
        for row in page["rows"]:
            why = row["problem"]["type"].rpartition(":")[2] if row["problem"] else ""
            told[row["row"]] = why or row["outcome"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    wrong = {number: told.get(number) for number in order.ends.keys() | told.keys()}
    wrong = {number: end for number, end in wrong.items() if end != order.ends.get(number)}
    assert not wrong, f"rows that ended otherwise: {wrong}"


def _check_nothing_is_left(house: Estate) -> None:
    for what, query in {
        "jobs": "SELECT count(*) FROM job",
        "open failures": "SELECT count(*) FROM failure WHERE resolved_at IS NULL",
        "faces on their way": "SELECT count(*) FROM face WHERE status <> 'enrolled'",
        "repeated photos": "SELECT count(*) - count(DISTINCT photo_sha256) FROM face",
    }.items():
        ((count,),) = house.rows(query)
        assert count == 0, f"{count} {what}"
    uploads = [path.name for path in Path(house.environment["IMPORT_DIR"]).iterdir()]
    assert not uploads, f"uploads are left: {uploads}"


def _sweep(house: Estate) -> int:
    """The daily retention; how many photos it took that a kill had left without a face."""
    told = subprocess.run(
        [Path(sys.executable).parent / "gateway-server", "retention", "run"],
        env=house.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    photos, orphans = (re.findall(rf"^{one}: (\d+)$", told, re.MULTILINE)[0] for one in _SWEPT)
    return int(photos) + int(orphans)


_SWEPT = ("photos", "orphans")


def _check_photos(house: Estate, enrolled: int) -> None:
    """Faces, photo rows, files, and the gallery's faces are of the same photos."""
    faces = dict(house.rows("SELECT id, photo_sha256 FROM face"))
    rows = sorted(row[0] for row in house.rows("SELECT sha256 FROM photo"))
    assert len(faces) == enrolled, f"{len(faces)} faces of {enrolled}"
    assert rows == sorted(faces.values()), "photo rows and faces differ"
    assert rows == list(house.stored_photos()), "photo rows and files differ"
    with closing(sqlite3.connect(house.plan.data / "gallery.db", timeout=30)) as gallery:
        there = dict(gallery.execute("SELECT face_id, photo_sha256 FROM face"))
    assert there == faces, "the gallery has other faces"
