"""The files of the phone page, and the service worker that keeps them on the phone."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

HOME: Final = "/app/"
PAGE: Final = "index.html"
WORKER: Final = "sw.js"
MEDIA_TYPES: Final = {
    "bin": "application/octet-stream",
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
_BLANK: Final = 'const SHELL = { version: "", files: [] };'


@dataclass(frozen=True)
class Asset:
    data: bytes
    media_type: str
    etag: str


@cache
def read_shell() -> Mapping[str, Asset]:
    """By name below /app/, read once; the worker knows the others and their version."""
    found = dict(_read(files(__package__) / "static"))
    plain = {name: asset for name, asset in found.items() if name != WORKER}
    worker = _asset(WORKER, _filled(found[WORKER].data, plain))
    return {**plain, WORKER: worker}


def _read(folder: Traversable, prefix: str = "") -> list[tuple[str, Asset]]:
    assets = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.is_dir():
            assets += _read(entry, f"{name}/")
        elif name.rpartition(".")[2] in MEDIA_TYPES:
            assets.append((name, _asset(name, entry.read_bytes())))
    return assets


def _asset(name: str, data: bytes) -> Asset:
    etag = hashlib.sha256(data).hexdigest()[:32]
    return Asset(data, MEDIA_TYPES[name.rpartition(".")[2]], f'"{etag}"')


def _filled(worker: bytes, plain: Mapping[str, Asset]) -> bytes:
    """A browser takes a worker whose bytes have changed for a new one, and asks for all anew."""
    told = "".join(f"{name}{asset.etag}" for name, asset in plain.items())
    version = hashlib.sha256(worker + told.encode()).hexdigest()[:16]
    addresses = [HOME if name == PAGE else HOME + name for name in plain]
    shell = {"version": version, "files": addresses}
    return worker.replace(_BLANK.encode(), f"const SHELL = {json.dumps(shell)};".encode())
