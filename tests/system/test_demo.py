"""`make demo` and `make up`, as a stranger would run them."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from PIL import Image

from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import shrink
from tests.house.tree import ROOT
from tests.system.conftest import PEOPLE

pytestmark = pytest.mark.system
WITHIN_S = 180
DOOR = re.compile(r"gateway +(http://\S+)")
KEY = re.compile(r"operator's key +(rk_\S+)")


def demo(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def test_the_demo_finds_its_people_and_draws_one_search(tmp_path: Path) -> None:
    done = demo("run", "--people", 5, "--picture", tmp_path / "demo.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rank-1 100.0% (5/5)" in done.stdout
    assert "Demo Ada" in done.stdout
    assert str(tmp_path / "demo.png") in done.stdout
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.width > 5 * picture.height, "probe, heatmap and five candidates in a row"


def test_photos_of_ones_own_that_are_refused_are_listed_and_not_fatal(tmp_path: Path) -> None:
    shutil.copytree(PEOPLE / "demo-ada", tmp_path / "Ada")
    shutil.copytree(PEOPLE / "demo-bo", tmp_path / "Bo")
    (tmp_path / "Ada" / "0.jpg").write_text("not a photo")
    Image.new("RGB", (300, 300), "teal").save(tmp_path / "Bo" / "0.png")
    done = demo("run", "--photos", tmp_path, "--picture", tmp_path / "demo.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"refused: \S*/Ada/0\.jpg: .* is not a photo", done.stdout)
    assert re.search(r"refused: \S*/Bo/0\.png: .*no face", done.stdout, re.IGNORECASE)
    assert "over 2 held-out photos" in done.stdout


def test_a_folder_without_people_is_said_to_be_one(tmp_path: Path) -> None:
    done = demo("run", "--photos", tmp_path)
    assert done.returncode == 1
    assert "has no sub-folder with photos" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_server_that_cannot_start_is_shown_with_its_last_words(tmp_path: Path) -> None:
    done = demo("run", WEIGHTS_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "inference-server ended with exit code" in done.stdout
    assert "model.json" in done.stdout, "what the server wrote last"


@contextmanager
def up(data: Path) -> Iterator[Mapping[str, str]]:
    """`make up` until its key is printed; ended by Ctrl-C, which has to be clean."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "demo", "up", "--data", str(data)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield _read_doors(process)
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=WITHIN_S)[0]
        assert process.returncode == 0, rest


def _read_doors(process: subprocess.Popen[str]) -> Mapping[str, str]:
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            return {"url": DOOR.findall(said)[0], "key": KEY.findall(said)[0]}
    raise AssertionError(said)


def test_up_keeps_people_over_a_restart_and_leaves_no_server_behind(tmp_path: Path) -> None:
    with up(tmp_path) as door, Client(Connection(door["url"], door["key"])) as operator:
        photos = [shrink(PEOPLE / "demo-ada" / f"{n}.webp") for n in (1, 2, 3)]
        ada = operator.enroll("Demo Ada", photos)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{door['url']}/healthz", timeout=5)
    with up(tmp_path) as door, Client(Connection(door["url"], door["key"])) as operator:
        found = operator.search(shrink(PEOPLE / "demo-ada" / "4.webp"))
        assert [candidate.person_id for candidate in found.candidates] == [ada.id]


def test_the_key_of_one_start_opens_nothing_at_the_next(tmp_path: Path) -> None:
    with up(tmp_path) as earlier:
        pass
    with up(tmp_path) as door:
        bearer = {"Authorization": f"Bearer {earlier['key']}"}
        refused = requests.get(f"{door['url']}/v1/persons", headers=bearer, timeout=5)
    assert refused.status_code == 401


def test_the_example_scenario_is_met(tmp_path: Path) -> None:
    scenario = ROOT / "mobile-client-mock" / "scenarios" / "found_again.toml"
    with up(tmp_path) as door:
        phone = Path(sys.executable).parent / "mobile-client-mock"
        done = subprocess.run(
            [phone, "scenario", scenario, "--url", door["url"], "--key", door["key"]],
            capture_output=True, text=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
