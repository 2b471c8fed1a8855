"""The real app on each database, with a real HTTP app in the inference tier's place."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway_server import cache, search_desk, workers
from gateway_server.app import create_app
from gateway_server.auth import ROLES, Role
from gateway_server.database import Database
from gateway_server.gateway import Gateway
from gateway_server.settings import Settings
from gateway_server.tables import Row
from tests.gateway_server.fake_inference import TOKEN, FakeInference
from tests.gateway_server.photos import make_photo

MAX_PHOTO_BYTES = 100_000
MAX_PHOTO_PIXELS = 1_000_000
ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RETRIED_SOON = pytest.mark.usefixtures("retried_soon")
UNTIL_LIMIT_S = 10.0
Environment = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Running:
    """A gateway that has started, with a key of each role."""

    app: FastAPI
    keys: Mapping[Role, str]

    @property
    def gateway(self) -> Gateway:
        gateway: Gateway = self.app.state.gateway
        return gateway

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[str]:
    """A database made for this session, and dropped after it: its tables are there."""
    with _new_database(postgres_url) as url:
        asyncio.run(_prepare(url))
        yield url


@pytest.fixture(scope="session")
def bare_postgres_database(postgres_url: str) -> Iterator[str]:
    with _new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row; to be copied."""
    file = tmp_path_factory.mktemp("template") / "gateway.db"
    asyncio.run(_prepare(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Names a database in a folder that is not there yet; for tests to which the engine is one."""
    return f"sqlite+aiosqlite:///{tmp_path}/data/gateway.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """Names a database of each engine without a row. Its tables are there: to make them is slow."""
    if request.param == "sqlite":
        file = Path(make_url(sqlite_url).database or "")
        file.parent.mkdir()
        shutil.copy(request.getfixturevalue("sqlite_file"), file)
        return sqlite_url
    url: str = request.getfixturevalue("postgres_database")
    emptied = (f"DELETE FROM {one.name}" for one in reversed(Row.metadata.sorted_tables))
    asyncio.run(_execute(url, ";".join(emptied)))
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_database_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """Names a database of each engine without a table."""
    if request.param == "sqlite":
        return sqlite_url
    url: str = request.getfixturevalue("bare_postgres_database")
    asyncio.run(_execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    return url


@contextmanager
def _new_database(postgres_url: str) -> Iterator[str]:
    name = f"test_gateway_{uuid4().hex}"
    admin = make_url(postgres_url).set(drivername="postgresql+asyncpg")
    asyncio.run(_execute(admin, f"CREATE DATABASE {name}"))
    yield admin.set(database=name).render_as_string(hide_password=False)
    asyncio.run(_execute(admin, f"DROP DATABASE {name} WITH (FORCE)"))


async def _prepare(url: str) -> None:
    database = Database(url)
    await database.prepare()
    await database.close()


async def _execute(url: Any, statements: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for one in statements.split(";"):
            await connection.execute(text(one))
    await engine.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await opened.prepare()
    yield opened
    await opened.close()


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """What has failed once is left alone, so that a test can look at it; see `retried_soon`."""
    return {
        "DATABASE_URL": database_url,
        "PHOTO_DIR": str(tmp_path / "photos"),
        "IMPORT_DIR": str(tmp_path / "imports"),
        "INFERENCE_URL": "http://inference",
        "INTERNAL_TOKEN": TOKEN,
        "MAX_PHOTO_BYTES": str(MAX_PHOTO_BYTES),
        "MAX_PHOTO_PIXELS": str(MAX_PHOTO_PIXELS),
        "MAX_PHOTOS_PER_REQUEST": "4",
        "FIRST_PAUSE_S": "60",
        "LONGEST_PAUSE_S": "60",
        "ANSWER_WAIT_S": "5",
        "DRAIN_S": "0.2",
        "BREAKER_FAILURES": "1000",
        "JOB_ATTEMPTS": "1000",
        "RATE_MOBILE": "none",
        "RATE_OPERATOR": "none",
        "RATE_ADMIN": "none",
    }


@pytest.fixture(autouse=True)
def patient_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stalls for a moment shall not look like a Redis that is away."""
    monkeypatch.setattr(cache, "REDIS_TIMEOUT_S", 5.0)


@pytest.fixture
def retried_soon(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed is tried again at once, and whoever looks for work does so all the time."""
    environment |= {"FIRST_PAUSE_S": "0.01", "LONGEST_PAUSE_S": "0.05", "BREAKER_PAUSE_S": "0.05"}
    monkeypatch.setattr(workers, "IDLE_POLL_S", 0.02)
    monkeypatch.setattr(search_desk, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def photo_dir(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
def inference() -> FakeInference:
    return FakeInference()


@asynccontextmanager
async def run_gateway(
    environment: Environment, transport: httpx.AsyncBaseTransport | None
) -> AsyncIterator[Running]:
    app = create_app(Settings.from_mapping(environment), transport)
    async with app.router.lifespan_context(app):
        keyring = app.state.gateway.keyring
        yield Running(app, {role: await keyring.create(f"a {role}", role) for role in ROLES})


@pytest.fixture
async def running(environment: Environment, inference: FakeInference) -> AsyncIterator[Running]:
    async with run_gateway(environment, httpx.ASGITransport(inference.app)) as started:
        yield started


@pytest.fixture
async def operator(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client(running.keys["operator"]) as client:
        yield client


@pytest.fixture
async def phone(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client(running.keys["mobile"]) as client:
        yield client


Enroll = Callable[..., Any]


@pytest.fixture
def enrol(operator: httpx.AsyncClient) -> Enroll:
    """Registers a person with one photo; the answer's JSON."""

    async def register(name: str, photo: bytes = make_photo(), **details: str) -> dict[str, Any]:
        files = [("photos[]", ("face.jpg", photo))]
        answer = await operator.post("/v1/persons", data={"name": name, **details}, files=files)
        assert answer.status_code == 201, answer.text
        person: dict[str, Any] = answer.json()
        return person

    return register


async def search(client: httpx.AsyncClient, photo: bytes, **options: Any) -> httpx.Response:
    return await client.post("/v1/searches", files={"photo": ("p.jpg", photo)}, data=options)


async def search_in_vain(
    phone: httpx.AsyncClient, operator: httpx.AsyncClient, photo: bytes
) -> dict[str, Any]:
    """A search that has met an outage: its open failure."""
    answer = await search(phone, photo)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
    failures = await list_failures(operator, open=True)
    (failure,) = (one for one in failures if one["search_id"] == answer.json()["id"])
    return failure


async def list_failures(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    listed = (await client.get("/v1/failures", params=params)).json()["failures"]
    assert isinstance(listed, list)
    return listed


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """The first true thing that is seen; looks again and again, and not for ever."""
    deadline_s = time.monotonic() + UNTIL_LIMIT_S
    while not (seen := await look()):
        assert time.monotonic() < deadline_s, f"not within {UNTIL_LIMIT_S} s"
        await asyncio.sleep(0.01)  # polling, not timing
    return seen


def slug_of(answer: httpx.Response) -> str:
    """The problem's slug, after a look at the rest of the answer."""
    members = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert members["status"] == answer.status_code
    assert members["request_id"] == answer.headers["x-request-id"]
    assert members["title"]
    assert members["detail"]
    kind: str = members["type"]
    assert kind.startswith("urn:reunite:problem:")
    return kind.removeprefix("urn:reunite:problem:")
