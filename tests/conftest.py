"""What more than one tier's tests share: the real engines, where they are offered."""

import os

import pytest

ENGINES = ("TEST_POSTGRES_URL", "TEST_REDIS_URL")


def pytest_report_header() -> list[str]:
    """Says once what many skipped tests have in common."""
    return [f"{name}: {os.environ.get(name) or 'not set, not tested'}" for name in ENGINES]


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """`postgresql://user@host:port/database` of a database that tests may fill and empty."""
    return _offered("TEST_POSTGRES_URL")


@pytest.fixture(scope="session")
def redis_url() -> str:
    """`redis://host:port/number` of a database that tests may fill and empty."""
    return _offered("TEST_REDIS_URL")


def _offered(variable: str) -> str:
    url = os.environ.get(variable)
    if not url:
        pytest.skip(f"{variable} names no engine to test against")
    return url
