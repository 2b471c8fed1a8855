"""What the gateway leans on goes away: a clear problem, recovery by itself, nothing lost."""

import select
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import requests

from mobile_client_mock.client import Client, Connection, Habits, Patience
from mobile_client_mock.photo import Upload, remake, shrink
from tests.system.drills.estate import Estate, Stores, demo_people, estate, wait_until
from tests.system.drills.size import Size

AT_ONCE = Patience(attempts=1)
UPLOADS = 6


def disk_full(folder: Path, _size: Size) -> str:
    """The folder of photos is a file system of a few megabytes, and somebody fills it."""
    with small_disk(folder.parent / "disk") as disk:
        settings = {"PHOTO_DIR": str(disk / "photos")}
        with estate(folder, settings=settings) as house, _phone(house) as phone:
            before = phone.search(_photo(0))
            filler = disk / "filler"
            with suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))
            refused = _post(house, _photo(1))
            assert refused.status_code == 503, refused.text
            assert refused.json()["type"].endswith("photo-store-unavailable"), refused.text
            assert "Retry-After" in refused.headers
            assert phone.get_search(before.id).status == "done", "what was stored is still read"
            filler.unlink()
            assert phone.search(_photo(1)).status == "done", "it recovers by itself"
            assert not house.half_photos()
    return "503 photo-store-unavailable while full, then done; nothing half-written"


def database_locked(folder: Path, _size: Size) -> str:
    """Another process holds SQLite's only write lock for longer than the gateway waits."""
    with estate(folder) as house, _phone(house) as phone:
        phone.search(_photo(0))
        path = house.environment["DATABASE_URL"].partition(":///")[2]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            refused = _post(house, _photo(1))
            assert refused.status_code == 503, refused.text
            assert refused.json()["type"].endswith("database-unavailable"), refused.text
            other.execute("ROLLBACK")
        assert phone.search(_photo(1)).status == "done"
        assert house.rows("SELECT count(*) FROM search WHERE status <> 'done'")[0][0] == 0
    return "503 database-unavailable while locked, then done"


def postgresql_away(folder: Path, _size: Size, stores: Stores) -> str:
    """The connection to PostgreSQL is cut with searches under way, and mended."""
    with wire(stores.environment["DATABASE_URL"]) as cut:
        through = Stores(stores.name, {**stores.environment, "DATABASE_URL": cut.url})
        with estate(folder, through) as house, _phone(house) as phone:
            ids = [phone.begin_search(_photo(0)).id]
            cut.sever()
            refused = _post(house, _photo(1))
            assert refused.status_code == 503, refused.text
            assert refused.json()["type"].endswith("database-unavailable"), refused.text
            cut.mend()
            with _phone(house, Patience()) as patient:
                ids += [patient.search(_photo(number)).id for number in range(1, UPLOADS)]
            assert wait_until(lambda: _all_done(house, len(ids)), 60), "some searches are stuck"
    return f"503 database-unavailable while cut, then {UPLOADS} searches done, none twice"


def redis_away(folder: Path, _size: Size, stores: Stores) -> str:
    """Without Redis there is no common cache; searches go on."""
    with wire(stores.environment["CACHE_URL"]) as cut:
        through = Stores(stores.name, {**stores.environment, "CACHE_URL": cut.url})
        with estate(folder, through) as house, _phone(house) as phone:
            phone.search(_photo(0))
            assert phone.search(_photo(0)).cached, "Redis has the answer"
            cut.sever()
            started_s = time.monotonic()
            for number in range(1, UPLOADS):
                assert phone.search(_photo(number)).status == "done"
            each_s = (time.monotonic() - started_s) / (UPLOADS - 1)
            cut.mend()
            again = wait_until(lambda: phone.search(_photo(0)).cached, 15)
            assert again, "Redis is used again"
    return (
        f"{UPLOADS - 1} searches done without Redis, {each_s:.1f} s each, no error; then used again"
    )


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """A file system of 2 MB; needs the right to mount, which a container may not have."""
    at.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(at)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        raise Skipped("this user may not mount a small file system")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=False)


class Skipped(Exception):
    """A drill that cannot be held here; the message says why."""


class Wire:
    """A port that passes everything on to a server, until it is cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user = f"{parts.username}@" if parts.username else ""
        self.url = f"{parts.scheme}://{user}127.0.0.1:{port}{parts.path}"
        self._whole = threading.Event()
        self._whole.set()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def sever(self) -> None:
        self._whole.clear()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._listener.close()
        self.sever()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self._whole.is_set():
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._open += [client, server]
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with one, other, suppress(OSError):
        while True:
            readable, _, _ = select.select([one, other], [], [])
            for side in readable:
                data = side.recv(65536)
                if not data:
                    return
                (other if side is one else one).sendall(data)


@contextmanager
def wire(url: str) -> Iterator[Wire]:
    made = Wire(url)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def _phone(house: Estate, patience: Patience = AT_ONCE) -> Iterator[Client]:
    with Client(Connection(house.urls[0], house.mobile_key, patience), Habits()) as phone:
        yield phone


def _photo(number: int) -> Upload:
    return remake(shrink(demo_people(1)[0].enrolled[0]), number.to_bytes(2, "big"))


def _post(house: Estate, photo: Upload) -> requests.Response:
    return requests.post(
        f"{house.urls[0]}/v1/searches",
        files={"photo": ("p.jpg", photo.data)},
        headers={"Authorization": f"Bearer {house.mobile_key}"},
        timeout=60,
    )


def _all_done(house: Estate, searches: int) -> bool:
    return dict(house.rows("SELECT status, count(*) FROM search GROUP BY status")) == {
        "done": searches
    }
