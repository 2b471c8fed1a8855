from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from demo.people import Subject, read_people
from demo.servers import House, Plan, running
from mobile_client_mock.client import Client, Connection, Patience
from tests.house.tree import ROOT

PEOPLE = ROOT / "tests" / "data" / "people"
AT_ONCE = Patience(attempts=1)  # what a phone would try again shows itself here


@pytest.fixture(scope="session")
def people() -> Sequence[Subject]:
    return read_people(PEOPLE)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan.on_free_ports(tmp_path / "data")


@pytest.fixture
def house(plan: Plan) -> Iterator[House]:
    with running(plan) as house:
        yield house


@pytest.fixture
def operator(house: House) -> Iterator[Client]:
    key = house.make_key("operator", "test")
    with Client(Connection(house.plan.gateway_url, key, AT_ONCE)) as client:
        yield client
