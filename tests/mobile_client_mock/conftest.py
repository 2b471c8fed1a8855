from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from mobile_client_mock.client import Client, Connection, Habits, Patience
from tests.mobile_client_mock.fake_gateway import FakeGateway, run_gateway

KEY = "rk_0123456789ab_secret"
QUICK = Patience(connect_timeout_s=30, read_timeout_s=30, attempts=3, first_delay_s=0.5)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with run_gateway() as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    """What the phone would have waited, in seconds."""
    return []


@pytest.fixture
def connect(slept: list[float]) -> Callable[..., Client]:
    def build(url: str, patience: Patience = QUICK) -> Client:
        habits = Habits(sleep=slept.append, draw=lambda: 1.0)
        return Client(Connection(url, KEY, patience), habits)

    return build


@pytest.fixture
def client(gateway: FakeGateway, connect: Callable[..., Client]) -> Iterator[Client]:
    with connect(gateway.url) as phone:
        yield phone


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "Grandma at home.jpg"
    Image.new("RGB", (64, 48), "teal").save(file)
    return file
