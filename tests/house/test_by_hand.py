"""The README's section "By hand", typed word for word against both servers."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import servers
from tests.house.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## By hand\n")[2].partition("\n## ")[0]
LEFT_TO_THE_READER = re.compile(r"export \w+=")


def commands() -> Iterator[str]:
    """The section's commands in their order, but those that say where the servers are."""
    for block in re.findall(r"^```sh\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if line and not line.startswith("#") and not LEFT_TO_THE_READER.match(line):
                yield line


def typed(command: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout to a reader, and can be written into."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".curlrc").write_text("silent\nfail-with-body\n")  # a refusal ends the test
    return tmp_path


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_command_does_what_the_readme_says(checkout: Path):
    with servers.running(servers.Plan.on_free_ports(checkout / "data")) as house:
        environment = {
            **os.environ,
            "COLUMNS": "160",
            "CURL_HOME": str(checkout),
            "REUNITE_URL": house.plan.gateway_url,
            "REUNITE_KEY": house.make_key("operator", "a reader"),
        }
        for command in commands():
            answer = typed(command, checkout, environment)
            if command.endswith("/v1/searches"):
                search = json.loads(answer)
                first = search["candidates"][0]
                environment |= {"SEARCH": search["id"], "PERSON": first["person_id"]}

    assert first["name"] == "Ada Example"
    assert (checkout / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert "Ada Example" in answer  # the last one's: the mobile client's table
