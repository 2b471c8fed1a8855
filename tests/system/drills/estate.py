"""One inference server and some gateways on common stores, each a process that may be killed."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import psycopg

from demo.people import Subject, read_people
from demo.servers import Plan, Server, ServerFailed, start_inference
from tests.house.tree import ROOT

PEOPLE = ROOT / "tests" / "data" / "people"
LEASE_S = "5"  # of a killed gateway's work; the default would make every drill long
QUICK = {
    "JOB_LEASE_S": LEASE_S,
    "ANSWER_WAIT_S": "5",
    "LONGEST_PAUSE_S": "5",
    "RATE_MOBILE": "none",
    "RATE_OPERATOR": "none",
    "RATE_ADMIN": "none",
    "RATE_STRANGERS": "none",
}


@dataclass(frozen=True)
class Stores:
    """What the gateways have in common; empty for SQLite and a cache in each process."""

    name: str = "SQLite"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Gateway:
    """One gateway's place: its process may go, its address stays."""

    plan: Plan
    environment: Mapping[str, str]
    log: Path
    server: Server

    @property
    def url(self) -> str:
        return self.plan.gateway_url

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.server.pid}/status").read_text(encoding="utf-8")
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def start(self) -> None:
        self.server = Server("gateway-server", self.url, self.environment, self.log)


class Estate:
    def __init__(
        self, folder: Path, stores: Stores, gateways: int, settings: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.plan = Plan.on_free_ports(folder)
        self.environment = {
            **self.plan.gateway_environment(),
            **QUICK,
            **stores.environment,
            **settings,
        }
        self.operator_key = self._key("operator")
        self.mobile_key = self._key("mobile")
        self.admin_key = self._key("admin")
        self.inference = start_inference(self.plan)
        self.gateways = [self._gateway(number) for number in range(gateways)]

    def wait_until_ready(self) -> None:
        for server in (self.inference, *(one.server for one in self.gateways)):
            server.wait_until_ready()

    @property
    def urls(self) -> Sequence[str]:
        return [gateway.url for gateway in self.gateways]

    @property
    def processor_s(self) -> float:
        """That all servers have used so far, with their workers."""
        sessions = {self.inference.pid, *(one.server.pid for one in self.gateways)}
        return sum(map(_processor_s, filter(lambda pid: _session(pid) in sessions, _processes())))

    def restart_inference(self, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.inference = start_inference(self.plan, settings)
        self.inference.wait_until_ready()

    def stop(self) -> None:
        for server in (*(one.server for one in self.gateways), self.inference):
            server.kill()

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        """Straight from the gateways' database, whichever it is."""
        url = self.environment["DATABASE_URL"]
        if url.startswith("sqlite"):
            path = url.partition(":///")[2]
            with closing(sqlite3.connect(path, timeout=30)) as connection:
                return connection.execute(query).fetchall()
        with psycopg.connect(url.replace("+asyncpg", "")) as connection:
            return connection.execute(query.encode()).fetchall()

    def stored_photos(self) -> Sequence[str]:
        """The sha256 of every photo's file."""
        folder = Path(self.environment["PHOTO_DIR"])
        return sorted(path.stem for path in folder.glob("??/??/*") if path.is_file())

    def half_photos(self) -> Sequence[Path]:
        return sorted(Path(self.environment["PHOTO_DIR"], "arriving").iterdir())

    def _key(self, role: str) -> str:
        script = str(Path(sys.executable).parent / "gateway-server")
        done = subprocess.run(
            [script, "keys", "create", "--role", role, "--name", "drill"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"gateway-server keys create: {done.stderr.strip()}")
        return done.stdout.strip()

    def _gateway(self, number: int) -> Gateway:
        plan = Plan.on_free_ports(self.folder)
        environment = {**self.environment, "PORT": str(plan.gateway_port)}
        log = self.folder / "logs" / f"gateway-{number}.log"
        server = Server("gateway-server", plan.gateway_url, environment, log)
        return Gateway(plan, environment, log, server)


@contextmanager
def estate(
    folder: Path,
    stores: Stores | None = None,
    *,
    gateways: int = 1,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Estate]:
    """All of it running and ready; gone on the way out."""
    folder.mkdir(parents=True)
    built = Estate(folder, stores or Stores(), gateways, settings or {})
    try:
        built.wait_until_ready()
        yield built
    finally:
        built.stop()


@contextmanager
def postgresql(url: str, redis_url: str) -> Iterator[Stores]:
    """A new database on that server, dropped afterwards; with a Redis for the cache, if any."""
    name = f"drill_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    own = url.rpartition("/")[0] + f"/{name}"
    environment = {"DATABASE_URL": own}
    if redis_url:
        environment["CACHE_URL"] = redis_url
    try:
        yield Stores("PostgreSQL and Redis" if redis_url else "PostgreSQL", environment)
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _processes() -> Sequence[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _processor_s(pid: int) -> float:
    """proc(5): user's and system's ticks are the 14th and 15th of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def demo_people(most: int) -> Sequence[Subject]:
    return read_people(PEOPLE, most)


def wait_until(wanted: Any, within_s: float, every_s: float = 0.2) -> bool:
    """Whether `wanted()` came true in time."""
    give_up_s = time.monotonic() + within_s
    while not wanted():
        if time.monotonic() > give_up_s:
            return False
        threading.Event().wait(every_s)
    return True
