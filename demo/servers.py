"""Both servers as real processes of this machine, started, watched and stopped together."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import requests

HOST = "127.0.0.1"
READY_WITHIN_S = 180.0
ASK_AGAIN_S = 0.1
STOP_WITHIN_S = 15.0
LOG_LINES = 30
LOG_COLUMNS = 300  # a traceback in one JSON line is cut


class ServerFailed(Exception):
    """A server did not start, or has died; the message ends with what it wrote last."""


@dataclass(frozen=True)
class Plan:
    """What runs where. The token is known to the two servers alone and new with each start."""

    data: Path
    gateway_port: int
    inference_port: int
    internal_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @classmethod
    def on_free_ports(cls, data: Path, gateway_port: int = 0, inference_port: int = 0) -> Self:
        """The ports that are asked for; any free one in place of one that is taken or is 0."""
        with ExitStack() as stack:
            taken = [stack.enter_context(_reserve(port)) for port in (gateway_port, inference_port)]
            return cls(data, *(one.getsockname()[1] for one in taken))

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def inference_url(self) -> str:
        return f"http://{HOST}:{self.inference_port}"

    def inference_environment(self) -> Mapping[str, str]:
        return {
            "DATABASE_URL": f"sqlite:///{self.data / 'gallery.db'}",
            "INTERNAL_TOKEN": self.internal_token,
            "HOST": HOST,
            "PORT": str(self.inference_port),
        }

    def gateway_environment(self) -> Mapping[str, str]:
        return {
            "DATABASE_URL": f"sqlite+aiosqlite:///{self.data / 'gateway.db'}",
            "PHOTO_DIR": str(self.data / "photos"),
            "INFERENCE_URL": self.inference_url,
            "INTERNAL_TOKEN": self.internal_token,
            "HOST": HOST,
            "PORT": str(self.gateway_port),
            "RATE_MOBILE": "none",  # one key stands for many phones here
            "RATE_OPERATOR": "none",
        }


class Server:
    """One process, in a session of its own: Ctrl-C reaches us first, and it through us."""

    def __init__(self, script: str, url: str, environment: Mapping[str, str], log: Path) -> None:
        self._script = script
        self._url = url
        self._log = log
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [_console_script(script), "serve"],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        give_up_s = time.monotonic() + within_s
        while not self._is_ready():
            self.check()
            if time.monotonic() > give_up_s:
                raise ServerFailed(f"{self._script} was not ready in {within_s:g} s{self._tail()}")
            time.sleep(ASK_AGAIN_S)

    def check(self) -> None:
        """Raises ServerFailed if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ServerFailed(f"{self._script} ended with exit code {code}{self._tail()}")

    def stop(self) -> None:
        """Politely, then not: after this no process of it is left."""
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """At once, with its workers, as a crash would."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self._url}/readyz", timeout=(1, 10)).ok
        except requests.RequestException:
            return False

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        told = [f"the end of {self._log}:", *(line[:LOG_COLUMNS] for line in lines)]
        return "".join(f"\n    {line}" for line in told)


@dataclass(frozen=True)
class House:
    """Both servers, running."""

    plan: Plan
    inference: Server
    gateway: Server

    def make_key(self, role: str, owner: str) -> str:
        return make_key(self.plan, role, owner)

    def check(self) -> None:
        for server in (self.inference, self.gateway):
            server.check()


@contextmanager
def running(plan: Plan) -> Iterator[House]:
    """Both servers, ready; stopped on the way out, whatever the way."""
    with ExitStack() as stack:
        inference = start_inference(plan)
        stack.callback(inference.stop)
        gateway = start_gateway(plan)
        stack.callback(gateway.stop)
        for server in (inference, gateway):
            server.wait_until_ready()
        yield House(plan, inference, gateway)


def make_key(plan: Plan, role: str, owner: str) -> str:
    """A new key of the gateway's, by its own command, which needs no server."""
    return _keys(plan, "create", "--role", role, "--name", owner)


def revoke_key(plan: Plan, key: str) -> None:
    """The key `rk_ID_SECRET` opens nothing from now on."""
    _keys(plan, "revoke", key.split("_")[1])


def _keys(plan: Plan, *words: str) -> str:
    """What `gateway-server keys …` answers."""
    done = subprocess.run(
        [_console_script("gateway-server"), "keys", *words],
        env={**os.environ, **plan.gateway_environment()},
        capture_output=True,
        text=True,
        timeout=READY_WITHIN_S,
        check=False,
    )
    if done.returncode:
        raise ServerFailed(f"gateway-server keys {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def start_inference(plan: Plan, settings: Mapping[str, str] = MappingProxyType({})) -> Server:
    log = plan.data / "logs" / "inference-server.log"
    environment = {**plan.inference_environment(), **settings}
    return Server("inference-server", plan.inference_url, environment, log)


def start_gateway(plan: Plan) -> Server:
    log = plan.data / "logs" / "gateway-server.log"
    return Server("gateway-server", plan.gateway_url, plan.gateway_environment(), log)


def _reserve(port: int) -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((HOST, port))
    except OSError:
        reserved.bind((HOST, 0))
    return reserved


def _console_script(name: str) -> str:
    """The one beside the running interpreter: the environment that the demo itself lives in."""
    return str(Path(sys.executable).parent / name)
