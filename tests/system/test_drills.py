"""The short drills, with few phones: `make drills` holds all of them, as large as promised."""

from pathlib import Path

import pytest

from tests.system.drills.__main__ import DRILLS, NEED_POSTGRESQL
from tests.system.drills.outages import Skipped
from tests.system.drills.size import SMALL

pytestmark = pytest.mark.system

SHORT = (
    "inference-killed",
    "gateway-killed",
    "gateway-killed-postgresql",
    "disk-full",
    "database-locked",
    "hostile-uploads",
)


@pytest.mark.parametrize("name", SHORT)
def test_a_drill_passes(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name in NEED_POSTGRESQL:
        request.getfixturevalue("postgres_url")
    try:
        told = DRILLS[name](tmp_path / "house", SMALL)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert told
