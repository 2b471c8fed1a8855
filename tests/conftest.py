"""What more than one tier's tests share: the real engines, where they are offered."""

import os

import pytest


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
