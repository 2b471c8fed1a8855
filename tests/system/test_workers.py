"""Two inference workers behind one port: what one enrols, the other finds on the next request."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from demo.journey import enrol
from demo.people import Subject
from demo.servers import Plan, make_key, start_gateway, start_inference
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import shrink

pytestmark = pytest.mark.system


def workers_of(pid: int) -> Sequence[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(line) for line in listed.stdout.split()]


@contextmanager
def held(worker: int) -> Iterator[None]:
    """It answers nobody and accepts nobody meanwhile; the other does all the work."""
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)


@contextmanager
def phone_through_a_fresh_gateway(plan: Plan, key: str) -> Iterator[Client]:
    """A gateway that has no connection yet, so that none is open to the worker that is held."""
    gateway = start_gateway(plan)
    try:
        gateway.wait_until_ready()
        with Client(Connection(plan.gateway_url, key)) as phone:
            yield phone
    finally:
        gateway.stop()


@pytest.fixture
def key(plan: Plan) -> str:
    return make_key(plan, "operator", "test")


@pytest.fixture
def workers(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[int]]:
    monkeypatch.setenv("WORKERS", "2")
    inference = start_inference(plan)
    try:
        inference.wait_until_ready()
        yield workers_of(inference.pid)
    finally:
        inference.stop()


def test_a_person_enrolled_through_one_worker_is_found_through_the_other(
    plan: Plan, key: str, workers: Sequence[int], people: Sequence[Subject]
) -> None:
    one, other = workers
    probe = shrink(people[0].enrolled[0])
    with held(one), phone_through_a_fresh_gateway(plan, key) as phone:
        assert phone.search(probe).candidates == ()
        (ada,) = enrol(phone, people[:1]).people
    with held(other), phone_through_a_fresh_gateway(plan, key) as phone:
        assert [found.person_id for found in phone.search(probe).candidates] == [ada.person_id]
        phone.delete_person(ada.person_id)
    with held(one), phone_through_a_fresh_gateway(plan, key) as phone:
        assert phone.search(probe).candidates == (), "nor is one who was deleted elsewhere"
