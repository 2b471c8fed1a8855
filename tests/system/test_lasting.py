"""What was told to the house is still known after its servers have gone and come back."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import requests

from demo.journey import enrol
from demo.people import Subject
from demo.servers import House, Plan, make_key, running, start_inference
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import shrink

pytestmark = pytest.mark.system
CLOSED_WITHIN_S = 60.0


class Ledger:
    """The operators' list of failures."""

    def __init__(self, url: str, key: str) -> None:
        self._address = f"{url}/v1/failures"
        self._key = {"Authorization": f"Bearer {key}"}

    def wait_until_closed(self) -> None:
        deadline_s = time.monotonic() + CLOSED_WITHIN_S
        while any(failure["resolved_at"] is None for failure in self.list()):
            assert time.monotonic() < deadline_s, f"not made good within {CLOSED_WITHIN_S} s"
            time.sleep(0.2)  # polling, not timing

    def list(self) -> Sequence[Mapping[str, Any]]:
        return self._json(requests.get(self._address, headers=self._key, timeout=30))["failures"]

    def retry(self, failure_id: str) -> Mapping[str, Any]:
        address = f"{self._address}/{failure_id}/retry"
        return self._json(requests.post(address, headers=self._key, timeout=30))

    @staticmethod
    def _json(response: requests.Response) -> Mapping[str, Any]:
        document: Mapping[str, Any] = response.json()
        return document


@pytest.fixture
def ledger(house: House) -> Ledger:
    return Ledger(house.plan.gateway_url, house.make_key("operator", "test"))


def test_a_restart_of_both_servers_loses_nothing(plan: Plan, people: Sequence[Subject]) -> None:
    with running(plan):
        key = make_key(plan, "operator", "test")
        with Client(Connection(plan.gateway_url, key)) as phone:
            enrolment = enrol(phone, people[:2])
            before = phone.search(shrink(people[0].enrolled[0]))
            phone.judge(before.id, before.candidates[0].person_id, "same")
    with running(plan), Client(Connection(plan.gateway_url, key)) as phone:
        assert phone.get_search(before.id).candidates == before.candidates
        assert phone.heatmap(before.id).startswith(b"\x89PNG"), "its photo is still there"
        again = phone.search(shrink(people[0].enrolled[0]))
        assert again.candidates == before.candidates
        assert {one.person_id for one in again.candidates} == set(enrolment.portraits)


def test_what_an_outage_left_undone_is_recorded_and_made_good_by_itself(
    house: House, operator: Client, ledger: Ledger, people: Sequence[Subject]
) -> None:
    enrolment = enrol(operator, people[:2])
    house.inference.kill()
    accepted = operator.begin_search(shrink(people[0].enrolled[0]))
    assert accepted.is_unfinished

    (failure,) = ledger.list()
    assert failure["search_id"] == accepted.id
    assert failure["reason"] == "inference-unreachable"
    assert failure["photo_sha256"]
    assert failure["resolved_at"] is None
    assert failure["next_attempt_at"] > failure["last_attempt_at"]

    inference = start_inference(house.plan)
    try:
        inference.wait_until_ready()
        search = operator.wait_for_end(accepted)
        assert search.status == "done"
        assert search.candidates[0].person_id == enrolment.people[0].person_id
        (failure,) = ledger.list()
        assert (failure["outcome"], failure["next_attempt_at"]) == ("done", None)
    finally:
        inference.stop()


def test_a_photo_enrolled_during_an_outage_is_found_after_it(
    house: House, operator: Client, ledger: Ledger, people: Sequence[Subject]
) -> None:
    house.inference.kill()
    person = operator.enroll(people[0].name, [shrink(people[0].enrolled[0])])
    assert (person.faces, person.pending) == (0, 1)
    (failure,) = ledger.list()
    again = ledger.retry(failure["id"])
    assert (again["kind"], again["resolved_at"]) == ("enrolment", None)
    inference = start_inference(house.plan)
    try:
        inference.wait_until_ready()
        ledger.wait_until_closed()
        (failure,) = ledger.list()
        assert failure["outcome"] == "enrolled"
        found = operator.search(shrink(people[0].enrolled[0]))
        assert [one.person_id for one in found.candidates] == [person.id]
    finally:
        inference.stop()
