"""The tree under test: its root, its four distributions and the files that git tracks."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "face_models": ROOT / "models",
    "inference_server": ROOT / "inference-server",
    "gateway_server": ROOT / "gateway-server",
    "mobile_client_mock": ROOT / "mobile-client-mock",
}


def manifest(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    home = PACKAGES[package]
    files = sorted((home / package).rglob("*.py"))
    return {".".join(f.relative_to(home).with_suffix("").parts): f for f in files}


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
