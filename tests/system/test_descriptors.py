"""The paper's heatmap descriptor behind both servers, with the shipped networks."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from demo.journey import enrol
from demo.people import Subject
from demo.servers import Plan, make_key, running
from face_models.calibration import Calibration
from face_models.template import HEATMAP_DESCRIPTOR
from mobile_client_mock.answers import Search
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import shrink

pytestmark = pytest.mark.system

PEOPLE = 4


def reenrol(plan: Plan) -> str:
    """What `gateway-server reenrol` says at its end."""
    done = subprocess.run(
        [Path(sys.executable).parent / "gateway-server", "reenrol"],
        env={**os.environ, **plan.gateway_environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_a_gallery_of_embeddings_becomes_one_of_heatmap_descriptors_and_never_both(
    plan: Plan, people: Sequence[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [shrink(person.enrolled[0]) for person in people[:PEOPLE]]
    with running(plan):
        key = make_key(plan, "operator", "test")
        with Client(Connection(plan.gateway_url, key)) as phone:
            enrolment = enrol(phone, people[:PEOPLE])
            embedded = phone.search(photos[0])

    monkeypatch.setenv("DESCRIPTOR", "heatmap")
    with running(plan), Client(Connection(plan.gateway_url, key)) as phone:
        unfound = phone.search(photos[0])
        assert unfound.candidates == ()
        assert reenrol(plan).startswith(f"{enrolment.faces} faces: {enrolment.faces} sent")
        searches = [phone.search(photo) for photo in photos]

    expected = [enrolled.person_id for enrolled in enrolment.people]
    assert [search.candidates[0].person_id for search in searches] == expected
    for search in searches:
        assert search.candidates[0].similarity == pytest.approx(1, abs=1e-4)
        assert_honest(search)
    assert embedded.verdict == "lead"
    assert similarities(searches[0]) != similarities(embedded)


def similarities(search: Search) -> dict[str, float]:
    return {one.person_id: one.similarity for one in search.candidates}


def assert_honest(search: Search) -> None:
    """Nothing is a lead before the descriptor's own curves are in calibration.json."""
    calibrated = HEATMAP_DESCRIPTOR in Calibration.load().tables
    assert ("uncalibrated" in search.warnings) is not calibrated
    assert calibrated or search.verdict == "no_credible_lead"
