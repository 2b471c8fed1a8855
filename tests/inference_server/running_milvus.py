"""Milvus Lite as a server of its own, which several processes may ask."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.inference_server.running_server import free_port

LISTENING_WITHIN_S = 60.0


@contextmanager
def running_milvus(folder: Path) -> Iterator[str]:
    """Its address; killed at the end."""
    if find_spec("milvus_lite") is None:
        pytest.skip("the extra `milvus-lite` is not installed")
    port = free_port()
    command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--data-dir", str(folder)], stdout=subprocess.DEVNULL
    )
    try:
        _await_listening(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(LISTENING_WITHIN_S)


def _await_listening(port: int) -> None:
    deadline_s = time.monotonic() + LISTENING_WITHIN_S
    while not _is_listening(port):
        assert time.monotonic() < deadline_s, f"not listening within {LISTENING_WITHIN_S:g} s"
        time.sleep(0.1)  # polling, not timing


def _is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
