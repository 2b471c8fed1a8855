"""A server in its own processes, and callers that open a real connection for every call."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from threading import Thread
from typing import Any

from tests.inference_server.callers import TOKEN, WITH_TOKEN

ANSWERING_S = 30
STOPPING_S = 30


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningServer:
    process: subprocess.Popen[str]
    port: int
    journal: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, address: str, photo: bytes | None = None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWERING_S)
        headers = {**WITH_TOKEN, "Connection": "close"}
        if photo is not None:
            headers["Content-Type"] = "image/png"
        try:
            connection.request(method, address, body=photo, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def send(self, *pieces: bytes) -> socket.socket:
        """A connection on which these bytes were sent; its answer is not read yet."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWERING_S)
        for piece in pieces:
            connection.sendall(piece)
        return connection

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPING_S)


@contextmanager
def running(module: str, *arguments: str, **variables: str) -> Iterator[RunningServer]:
    """`python -m module` on a free port, until it answers; stopped at the end if it still runs."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "INTERNAL_TOKEN": TOKEN,
            "PORT": str(port),
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = RunningServer(process, port)
    reader = Thread(target=_keep_journal, args=(server,))
    try:
        _await_listening(server)
        reader.start()
        assert server.call("GET", "/healthz").status == 200
        yield server
    finally:
        if process.poll() is None:
            server.stop()
        if reader.ident is not None:
            reader.join()
        assert process.stdout is not None
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def read_answer(connection: socket.socket) -> Answer:
    """Until the server hangs up."""
    with connection:
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split(" ")[1]), headers, body)


def _await_listening(server: RunningServer) -> None:
    """From then on a connection waits until a worker has loaded the app."""
    for line in _lines(server):
        if "Listening at" in line["message"]:
            return
    raise AssertionError(f"The server stopped at once: {server.journal}")


def _keep_journal(server: RunningServer) -> None:
    for _ in _lines(server):
        pass


def _lines(server: RunningServer) -> Iterator[dict[str, Any]]:
    """What the server writes, as it comes; a line that is not JSON is kept as a failure."""
    assert server.process.stdout is not None
    for text in server.process.stdout:
        try:
            line = json.loads(text)
        except ValueError:
            line = {"level": "NOT JSON", "message": text}
        server.journal.append(line)
        yield line
