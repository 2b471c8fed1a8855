"""What was told to the house is still known after its servers have gone and come back."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import requests

from demo.journey import enrol
from demo.people import Subject
from demo.servers import House, Plan, make_key, running, start_inference
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.errors import Unreachable
from mobile_client_mock.photo import shrink

pytestmark = pytest.mark.system


class Ledger:
    """The operators' list of failures."""

    def __init__(self, url: str, key: str) -> None:
        self._address = f"{url}/v1/failures"
        self._key = {"Authorization": f"Bearer {key}"}

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


def test_what_an_outage_left_undone_is_recorded_and_done_at_a_retry(
    house: House, operator: Client, ledger: Ledger, people: Sequence[Subject]
) -> None:
    enrolment = enrol(operator, people[:2])
    house.inference.kill()
    with pytest.raises(Unreachable) as caught:
        operator.search(shrink(people[0].enrolled[0]))
    problem = caught.value.problem
    assert problem
    assert (problem.status, problem.slug) == (503, "inference-unavailable")

    (failure,) = ledger.list()
    assert failure["id"] == problem.members["failure_id"]
    assert failure["search_id"] == problem.members["search_id"]
    assert failure["request_id"] == problem.request_id
    assert failure["photo_sha256"]
    assert failure["resolved_at"] is None
    assert ledger.retry(failure["id"])["status"] == 503

    inference = start_inference(house.plan)
    try:
        inference.wait_until_ready()
        resolved = ledger.retry(failure["id"])
        assert (resolved["outcome"], resolved["attempts"]) == ("done", 2)
        search = operator.get_search(failure["search_id"])
        assert search.status == "done"
        assert search.candidates[0].person_id == enrolment.people[0].person_id
    finally:
        inference.stop()


def test_a_photo_enrolled_during_an_outage_is_found_after_the_retry(
    house: House, operator: Client, ledger: Ledger, people: Sequence[Subject]
) -> None:
    house.inference.kill()
    with pytest.raises(Unreachable) as caught:
        operator.enroll(people[0].name, [shrink(people[0].enrolled[0])])
    assert caught.value.problem
    person_id = caught.value.problem.members["person_id"]
    inference = start_inference(house.plan)
    try:
        inference.wait_until_ready()
        (failure,) = ledger.list()
        assert ledger.retry(failure["id"])["outcome"] == "enrolled"
        found = operator.search(shrink(people[0].enrolled[0]))
        assert [one.person_id for one in found.candidates] == [person_id]
    finally:
        inference.stop()
