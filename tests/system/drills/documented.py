"""The OpenAPI document against the running gateway: every answer is one that it documents."""

import re
import subprocess
import sys
from pathlib import Path

from tests.system.drills.estate import Estate, estate
from tests.system.drills.size import Size

SEED = "7"
WITHIN_S = 1800
NOT_SAYABLE = "positive_data_acceptance"
"""No schema can say that a form's binary is a photo with a face: noise is refused, as it should."""


def openapi(folder: Path, size: Size) -> str:
    """Schemathesis with all checks, as each role and as a stranger."""
    told = []
    with estate(folder) as house:
        keys = {"mobile": house.mobile_key, "operator": house.operator_key}
        for role, key in {**keys, "admin": house.admin_key, "no": ""}.items():
            told.append(f"{_explore(house, key, size)} as {role}")
        house.gateways[0].server.check()
    return "cases without a complaint: " + ", ".join(told)


def _explore(house: Estate, key: str, size: Size) -> str:
    headers = ["--header", f"Authorization: Bearer {key}"] if key else []
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "run", f"{house.urls[0]}/openapi.json",
            *headers, "--checks", "all", "--exclude-checks", NOT_SAYABLE, "--seed", SEED,
            "--max-examples", str(size.examples), "--no-color", "--continue-on-failure",
        ],
        capture_output=True, text=True, check=False, timeout=WITHIN_S, cwd=house.folder,
    )  # fmt: skip
    assert done.returncode == 0, f"as {key[:6]}…:\n{done.stdout[-6000:]}"
    found = re.search(r"([\d,]+) generated", done.stdout)
    return found[1] if found else "?"
