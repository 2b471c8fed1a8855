"""What must not be in the tree: a machine's paths, secrets, photographs of people, leftovers."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT, tracked_files

TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".csv", ".txt", ".html", ".css", ".js", ""}
NETWORKS = ("weights", "checkpoints")
BIGGEST_FILE_BYTES = 1024 * 1024


def texts() -> list[tuple[Path, str]]:
    files = [f for f in tracked_files() if f.suffix in TEXT]
    return [(f.relative_to(ROOT), f.read_text(encoding="utf-8")) for f in files]


def test_no_tracked_file_names_a_path_of_the_machine_that_it_was_written_on():
    homes = r"/(?:home|Users)/\w+/|/root/|[A-Z]:\\Users\\"
    here = re.escape(f"{ROOT.parent}/")
    pattern = re.compile(f"{homes}|(?<![\\w.]){here}")

    guilty = [(str(name), m.group()) for name, text in texts() for m in pattern.finditer(text)]

    assert [g for g in guilty if g[0] != "tests/house/test_tree.py"] == []


def test_no_big_file_is_tracked_beside_the_networks():
    big = [f for f in tracked_files() if f.stat().st_size > BIGGEST_FILE_BYTES]

    assert [str(f.relative_to(ROOT)) for f in big if f.parent.name not in NETWORKS] == []


@pytest.mark.parametrize(
    "path",
    [".venv/bin/python", "data/gallery.db", "runs/base/log.csv", ".env", "models/dist/a.whl"],
)
def test_what_running_leaves_behind_is_ignored(path: str):
    assert ignored(path)


@pytest.mark.parametrize(
    "path", ["models/face_models/weights/base.onnx", "tests/data/a.webp", ".env.example"]
)
def test_what_the_product_needs_is_kept(path: str):
    assert not ignored(path)


def ignored(path: str) -> bool:
    asked = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
    return asked.returncode == 0
