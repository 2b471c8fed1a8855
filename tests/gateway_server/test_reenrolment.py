"""The gallery is filled again from what the gateway has stored."""

import pytest

from gateway_server.cli import main, report_reenrolment
from tests.gateway_server.conftest import ONE_ENGINE
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo


async def test_a_lost_gallery_is_filled_again_under_the_same_ids(running, inference, enrol, capsys):
    for seed in range(3):
        await enrol(f"person {seed}", make_photo(seed))
    before = {person: dict(faces) for person, faces in inference.gallery.items()}
    inference.gallery.clear()

    assert await report_reenrolment(running.gateway.reenrolment, to_the_end=False) == 0

    assert inference.gallery == before
    assert "3 faces: 3 sent, 0 refused, 0 could not be sent" in capsys.readouterr().out


async def test_a_person_without_faces_is_put_again(running, operator, inference, enrol):
    person = await enrol("Ada", make_photo(1))
    await operator.delete(f"/v1/persons/{person['id']}/faces/{person['faces'][0]['face_id']}")
    inference.gallery.clear()

    await report_reenrolment(running.gateway.reenrolment, to_the_end=False)

    assert inference.gallery == {person["id"]: {}}


async def test_a_pending_face_is_sent_too_and_its_failure_closed(
    running, operator, inference, enrol
):
    person = await enrol("Ada", make_photo(1))
    inference.fail("enrol", internal_error)
    await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)})
    inference.recover()

    assert await report_reenrolment(running.gateway.reenrolment, to_the_end=False) == 0

    read = (await operator.get(f"/v1/persons/{person['id']}")).json()
    assert [face["status"] for face in read["faces"]] == ["enrolled", "enrolled"]
    failures = (await operator.get("/v1/failures", params={"open": True})).json()["failures"]
    assert failures == []


async def test_a_photo_that_is_refused_now_is_reported_and_stays_stored(
    running, operator, inference, enrol, photo_dir, capsys
):
    person = await enrol("Ada", make_photo(1))
    inference.gallery.clear()
    inference.refuse(make_photo(1), "quality-too-low")

    assert await report_reenrolment(running.gateway.reenrolment, to_the_end=False) == 0

    said = capsys.readouterr().out
    assert f"refused: person {person['id']} face {person['faces'][0]['face_id']}" in said
    assert "1 faces: 0 sent, 1 refused, 0 could not be sent" in said
    assert (await operator.get(f"/v1/persons/{person['id']}")).json()["faces"] == person["faces"]
    assert len(list(photo_dir.glob("??/??/*"))) == 1


@pytest.mark.parametrize(("to_the_end", "tried"), [(False, 1), (True, 3)])
async def test_what_could_not_be_sent_ends_the_command_with_1(
    running, inference, enrol, to_the_end, tried, capsys
):
    for seed in range(3):
        await enrol(f"person {seed}", make_photo(seed))
    inference.fail("enrol", internal_error)

    assert await report_reenrolment(running.gateway.reenrolment, to_the_end=to_the_end) == 1

    assert inference.called("enrol") == 3 + tried
    assert f"3 faces: 0 sent, 0 refused, {tried} could not be sent" in capsys.readouterr().out


@ONE_ENGINE
def test_the_command_runs_by_itself(environment, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert main(["reenrol"]) == 0

    assert "0 faces: 0 sent" in capsys.readouterr().out
