"""The Makefile's menu, the environment that its commands make, and the wrapper that times them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT

COMMANDS = (
    "demo",
    "up",
    "test",
    "browser",
    "check",
    "bench",
    "drills",
    "train",
    "retrain",
    "reports",
    "evaluate",
    "docs",
    "clean",
    "help",
)
GIVEN = ["CONFIG=base.toml", "PAIRS=pairs.csv", "IMAGES=photos", "PHOTOS=photos", "DATA=data"]


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    # A `make test` above us must not hand its own flags down to the make under test.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )


def copy_of_the_menu(folder: Path) -> Path:
    """Makefile, tools and manifests without an environment, so that a command has to make one."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=ignored)
    for file in (ROOT / "Makefile", *ROOT.glob("pyproject.toml"), *ROOT.glob("*/pyproject.toml")):
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    return folder


def test_the_menu_lists_every_command_in_one_line():
    listed = re.findall(r"^  make (\w+) +\S", run("make").stdout, flags=re.MULTILINE)

    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_menu_can_be_made(command: str):
    planned = run("make", "-n", command, *GIVEN)

    assert planned.returncode == 0, planned.stderr
    assert planned.stdout


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("demo", "serving"),
        ("up", "serving"),
        ("docs", "serving"),
        ("test", "developing"),
        ("check", "developing"),
        ("bench", "developing"),
        ("train", "developing"),
        ("evaluate", "developing"),
    ],
)
def test_a_command_first_makes_the_environment_that_it_needs(
    command: str, environment: str, tmp_path: Path
):
    planned = run("make", "-n", command, *GIVEN, cwd=copy_of_the_menu(tmp_path))

    assert f"tools/environment {environment}\n" in planned.stdout


def test_a_made_environment_costs_the_second_command_nothing(tmp_path: Path):
    menu = copy_of_the_menu(tmp_path)
    (menu / ".venv").mkdir()
    (menu / ".venv/.serving").touch()

    assert "tools/environment" not in run("make", "-n", "demo", cwd=menu).stdout

    later = (menu / ".venv/.serving").stat().st_mtime + 10
    os.utime(menu / "models/pyproject.toml", (later, later))
    assert "tools/environment serving" in run("make", "-n", "demo", cwd=menu).stdout


@pytest.mark.parametrize(("command", "missing"), [("train", "CONFIG"), ("evaluate", "PAIRS")])
def test_a_command_names_what_it_was_not_given_before_it_installs_anything(
    command: str, missing: str, tmp_path: Path
):
    refused = run("make", command, cwd=copy_of_the_menu(tmp_path))

    assert refused.returncode == 2
    assert f"make {command} {missing}=" in refused.stderr
    assert not (tmp_path / ".venv").exists()


OLD_PYTHON = """#!/bin/sh
case "$*" in *version_info*) exit 1 ;; -V) echo Python 3.9.1 ;; esac
"""
PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; esac
"""


@pytest.mark.parametrize(
    ("python", "message"),
    [
        (None, "does not start"),
        (OLD_PYTHON, "Reunite needs Python 3.11 or newer, and"),
        (PYTHON_WITHOUT_VENV, "apt-get install python3-venv"),
    ],
    ids=["no python", "old python", "no venv module"],
)
def test_an_unfit_python_is_refused_with_advice(python: str | None, message: str, tmp_path: Path):
    path = tmp_path / "python"
    if python:
        path.write_text(python)
        path.chmod(0o755)

    refused = run(str(ROOT / "tools/environment"), "serving", cwd=tmp_path, PYTHON=str(path))

    assert refused.returncode == 1
    assert message in refused.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_wrapper_says_what_ran_and_keeps_its_status():
    passed = run("tools/timed", "Something", "true")
    failed = run("tools/timed", "Something", "sh", "-c", "exit 7")

    assert re.fullmatch(r"==> Something\n==> Something: done in \d+ s\n", passed.stdout)
    assert (passed.returncode, failed.returncode) == (0, 7)
    assert "failed with status 7" in failed.stderr
