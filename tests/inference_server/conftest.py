"""A fresh gallery store on each engine, and a server with painted networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import create_engine, make_url, text

from inference_server.app import demands_of
from inference_server.gallery.milvus_connection import MilvusConnection, check_index_url
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.callers import TOKEN, client_of
from tests.inference_server.painted_people import PaintedEngine, painted_pipeline


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Names an empty database: a file in a folder that is not there yet, or a schema of our own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/gallery.db"
    else:
        yield from _empty_schema(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    opened = SqlStore(store_url)
    yield opened
    opened.close()


def _empty_schema(postgres_url: str) -> Iterator[str]:
    schema = f"test_{uuid4().hex}"
    url = make_url(postgres_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        named = url.update_query_dict({"options": f"-c search_path={schema}"})
        yield named.render_as_string(hide_password=False)
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def settings() -> Settings:
    return Settings.from_mapping(
        {"INTERNAL_TOKEN": TOKEN, "MAX_PHOTO_BYTES": "200000", "MIN_QUALITY": "0"}
    )


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(f"sqlite:///{tmp_path}/gallery.db")
    yield opened
    opened.close()


@pytest.fixture
def engine() -> PaintedEngine:
    return PaintedEngine()


@pytest.fixture
def client(settings: Settings, engine: PaintedEngine, file_store: SqlStore) -> FlaskClient:
    """A caller of a server with painted networks and an empty gallery."""
    return client_of(settings, painted_pipeline(engine, demands_of(settings)), file_store)


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusConnection]:
    """Milvus Lite in this process."""
    path = str(tmp_path_factory.mktemp("milvus") / "index.db")
    try:
        check_index_url(path)
    except ValueError as error:
        pytest.skip(f"Milvus Lite is not installed: {error}")
    opened = MilvusConnection(path)
    yield opened
    opened.close()


@pytest.fixture
def empty_milvus(milvus: MilvusConnection) -> MilvusConnection:
    for name in milvus.client.list_collections():
        milvus.client.drop_collection(name)
    return milvus
