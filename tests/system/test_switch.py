"""A new model takes the old one's place and gives it back, under load, without a failed request."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
import requests

from demo.journey import Enrolment, enrol
from demo.people import Subject
from demo.servers import Plan, Server, running, start_inference
from face_models.spec import WEIGHTS_DIR
from mobile_client_mock.client import Client, Connection, Patience
from mobile_client_mock.photo import Upload, shrink
from tests.inference_server.running_milvus import running_milvus
from tests.system.other_networks import write_other_networks

pytestmark = [pytest.mark.system, pytest.mark.training]

PEOPLE = 3
CALLERS = 3
WITHIN_S = 240.0
REFUSED = 2
SAME_PHOTO = 0.999


@dataclass(frozen=True)
class Seen:
    """One answer; `begun_s` by the monotonic clock, `sha256` of the network."""

    begun_s: float
    sha256: str
    similarity: float


@pytest.fixture
def others(tmp_path: Path) -> Path:
    return write_other_networks(tmp_path / "others")


@pytest.fixture(params=["exact", "milvus"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """Two workers that search themselves, or one beside a Milvus."""
    if request.param == "exact":
        yield {"WORKERS": "2"}
    else:
        with running_milvus(tmp_path / "milvus") as url:
            yield {"WORKERS": "1", "INDEX_URL": url}


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {WITHIN_S:g} s"
        time.sleep(0.1)  # polling, not timing


class Operator:
    """Commands beside the running servers."""

    def __init__(self, plan: Plan, variables: Mapping[str, str]) -> None:
        self._plan = plan
        self._variables = variables

    def index(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**self._plan.inference_environment(), **self._variables}
        return self._run("inference-server", environment, "index", *words)

    def reenrol(self) -> str:
        done = self._run("gateway-server", self._plan.gateway_environment(), "reenrol")
        return done.stdout.splitlines()[-1]

    @staticmethod
    def _run(
        script: str, environment: Mapping[str, str], *words: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / script, *words],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )


class Load:
    """Callers who search without a pause, and whose searches no cache answers."""

    def __init__(self, tenants: "Tenants") -> None:
        self._url = f"{tenants.plan.inference_url}/v1/match"
        self._token = {"Authorization": f"Bearer {tenants.plan.internal_token}"}
        self._photos = {one.person_id: shrink(one.portrait) for one in tenants.enrolment.people}
        self._ended = Event()
        self.seen: list[Seen] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(CALLERS) as callers:
            calls: list[Future[None]] = [callers.submit(self._call) for _ in range(CALLERS)]
            try:
                yield
            finally:
                self._ended.set()
        for call in calls:
            call.result()

    def wait_for_answers_begun_after(self, begun_s: float, answers: int = 2 * CALLERS) -> None:
        wait_until(lambda: sum(one.begun_s > begun_s for one in self.seen) >= answers)

    def models_between(self, after_s: float, before_s: float) -> set[str]:
        """Which gave the answers that were begun in between."""
        return {one.sha256 for one in self.seen if after_s < one.begun_s < before_s}

    def _call(self) -> None:
        while not self._ended.is_set():
            for person_id, photo in self._photos.items():
                self.seen.append(self._search(person_id, photo))

    def _search(self, person_id: str, photo: Upload) -> Seen:
        begun_s = time.monotonic()
        files = {"photo": ("photo", photo.data)}
        answer = requests.post(self._url, files=files, headers=self._token, timeout=WITHIN_S)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        first = document["candidates"][0]
        assert first["person_id"] == person_id
        return Seen(begun_s, document["model"]["sha256"], first["similarity"])


@dataclass
class Tenants:
    """Both servers, and who is enrolled; the inference server can come back with other settings."""

    plan: Plan
    inference: Server
    enrolment: Enrolment
    key: str

    @contextmanager
    def phone(self) -> Iterator[Client]:
        with Client(Connection(self.plan.gateway_url, self.key, Patience(1))) as phone:
            yield phone

    def restart_inference(self) -> None:
        self.inference.stop()
        self.inference = start_inference(self.plan)
        self.inference.wait_until_ready()


@pytest.fixture
def tenants(
    plan: Plan,
    people: Sequence[Subject],
    variables: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Tenants]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with running(plan) as house:
        key = house.make_key("operator", "test")
        with Client(Connection(plan.gateway_url, key)) as phone:
            enrolment = enrol(phone, people[:PEOPLE])
        tenants = Tenants(plan, house.inference, enrolment, key)
        try:
            yield tenants
        finally:
            tenants.inference.stop()


def test_a_new_model_is_switched_to_and_back_without_a_failed_request(
    tenants: Tenants,
    people: Sequence[Subject],
    others: Path,
    variables: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator = Operator(tenants.plan, variables)
    monkeypatch.setenv("SHADOW_WEIGHTS_DIR", str(others))
    tenants.restart_inference()
    refused = operator.index("switch")
    assert (refused.returncode, "have no vectors" in refused.stderr) == (REFUSED, True)
    assert f"{tenants.enrolment.faces} sent" in operator.reenrol()

    load = Load(tenants)
    with load.running(), tenants.phone() as phone:
        load.wait_for_answers_begun_after(0.0)
        assert operator.index("switch").returncode == 0
        switched_s = time.monotonic()
        (newcomer,) = enrol(phone, people[PEOPLE : PEOPLE + 1]).people
        by_new = phone.search(shrink(newcomer.portrait))
        load.wait_for_answers_begun_after(switched_s)
        returning_s = time.monotonic()
        assert operator.index("switch", "--back").returncode == 0
        returned_s = time.monotonic()
        by_old = phone.search(shrink(newcomer.portrait))
        load.wait_for_answers_begun_after(returned_s)

    old_sha256, new_sha256 = sha256_of(WEIGHTS_DIR), sha256_of(others)
    assert load.models_between(switched_s, returning_s) == {new_sha256}
    assert load.models_between(returned_s, float("inf")) == {old_sha256}
    assert load.models_between(0.0, float("inf")) == {old_sha256, new_sha256}
    assert min(one.similarity for one in load.seen) > SAME_PHOTO
    for search, sha256 in ((by_new, new_sha256), (by_old, old_sha256)):
        assert search.candidates[0].person_id == newcomer.person_id
        assert search.candidates[0].similarity > SAME_PHOTO
        assert search.answer.document["model"]["sha256"] == sha256


def sha256_of(weights: Path) -> str:
    description = json.loads((weights / "model.json").read_text())
    return str(description["models"]["heatmap"]["sha256"])
