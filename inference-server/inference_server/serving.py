"""gunicorn, configured here: threads for requests, processes for cores, JSON for every failure.

The app is built in each worker after the fork, and nothing here imports it earlier: ONNX Runtime
starts a thread on its import, without which a forked worker hangs or aborts when it stops, and
prometheus_client decides on its import whether numbers are shared between processes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any, Final
from uuid import uuid4

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker

from inference_server.journal import journal_config
from inference_server.problems import MEDIA_TYPE, STATUSES, problem_document
from inference_server.settings import Settings

METRICS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
WORKER_TIMEOUT_S: Final = 60
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - heartbeats belong where no disk can stall


class Server(BaseApplication):
    """gunicorn's master, and what its workers load."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in gunicorn_options(self.settings).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:  # type: ignore[override]  # the stub asks for more than WSGI does
        from inference_server.app import assemble

        return assemble(self.settings)


class ProblemWorker(ThreadWorker):
    """Answers HTTP that is too broken for the app as a problem, too; gunicorn would send HTML."""

    def handle_error(self, _req: object, client: socket, _addr: object, exc: BaseException) -> None:
        broken = isinstance(exc, ParseException)
        self.log.error("A connection failed: %s", exc, exc_info=None if broken else exc)
        with suppress(OSError):
            write_nonblock(client, _bare_problem("bad-request" if broken else "internal-error"))


def serve(server: Server) -> None:
    """Runs until SIGTERM or SIGINT; running requests are finished first."""
    os.environ[METRICS_DIR] = tempfile.mkdtemp(prefix="inference-metrics-")
    server.run()


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": f"{host}:{settings.port}",
        "worker_class": ProblemWorker,
        "workers": settings.workers,
        "threads": settings.threads,
        "timeout": WORKER_TIMEOUT_S,
        "graceful_timeout": settings.graceful_timeout_s,
        "keepalive": settings.keepalive_s,
        "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
        "control_socket_disable": True,
        "logconfig_dict": journal_config(settings.log_level),
        "child_exit": _forget_worker,
        "on_exit": _remove_metrics,
    }


def _forget_worker(_arbiter: Arbiter, worker: Worker) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _remove_metrics(_arbiter: Arbiter) -> None:
    shutil.rmtree(os.environ[METRICS_DIR], ignore_errors=True)


def _bare_problem(slug: str) -> bytes:
    """A whole HTTP answer; there is no request that an app could answer."""
    request_id = uuid4().hex
    detail = "The connection does not carry well-formed HTTP, or broke while it was answered."
    document = problem_document(slug, detail, request_id)
    body = json.dumps(document).encode()
    status = STATUSES[slug]
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body
