from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mobile_client_mock.client import Client
from mobile_client_mock.errors import ScenarioError
from mobile_client_mock.scenario import Report, play, read_scenario
from tests.house.tree import ROOT
from tests.mobile_client_mock.documents import PERSON, SEARCH
from tests.mobile_client_mock.fake_gateway import FakeGateway, Reply, ok, problem

Player = Callable[[str], Report]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "ada.png")

    def write(text: str) -> Path:
        file = tmp_path / "scenario.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def played(write: Callable[[str], Path], client: Client, slept: list[float]) -> Player:
    def played(text: str) -> Report:
        return play(read_scenario(write(text)), client, slept.append)

    return played


WHOLE_WAY = """
name = "Found, judged, forgotten"
[[step]]
do = "enroll"
name = "Ada Example"
photos = ["ada.png", "ada.png"]
save = { ada = "id" }
expect = { status = 201 }
[[step]]
do = "search"
photo = "ada.png"
save = { search = "id", second = "candidates.1.person_id" }
expect = { person = "$ada", rank_at_most = 1, similarity_at_least = 0.7, verdict = "lead", cached = false }
[[step]]
do = "expect"
search = "$search"
expect = { person = "$second", rank_at_most = 2 }
[[step]]
do = "feedback"
search = "$search"
person = "$ada"
verdict = "same"
[[step]]
do = "wait"
seconds = 1.5
[[step]]
do = "delete"
person = "$ada"
expect = { status = 204 }
"""  # noqa: E501


def test_what_a_step_saves_reaches_the_later_ones(
    gateway: FakeGateway, played: Player, slept: list[float]
) -> None:
    found = ok(SEARCH, 201)
    gateway.answers(ok(PERSON, 201), found, ok(SEARCH), ok({}, 201), Reply(204))
    report = played(WHOLE_WAY)
    assert report.is_met, report
    assert [(one.method, one.path) for one in gateway.seen] == [
        ("POST", "/v1/persons"),
        ("POST", "/v1/searches"),
        ("GET", "/v1/searches/s-1"),
        ("POST", "/v1/searches/s-1/feedback"),
        ("DELETE", "/v1/persons/p-ada"),
    ]
    assert slept == [1.5]
    assert [step.status for step in report.steps] == [201, 201, 200, 201, None, 204]
    assert report.steps[0].request_id == "req-1"


UNMET = {
    'person = "p-nobody"': "p-nobody is not among the 2 candidates",
    'person = "p-bo", rank_at_most = 1': "rank is 2, above 1",
    'person = "p-bo", similarity_at_least = 0.5': "similarity is 0.310, below 0.5",
    'verdict = "no_credible_lead"': "verdict is lead, not no_credible_lead",
    "cached = true": "cached is False, not True",
    "status = 200": "status is 201, not 200",
    'problem = "no-face"': "problem is none, not no-face",
}


@pytest.mark.parametrize(("expectation", "finding"), UNMET.items(), ids=UNMET)
def test_what_was_found_instead_is_said(
    gateway: FakeGateway, played: Player, expectation: str, finding: str
) -> None:
    gateway.answers(ok(SEARCH, 201))
    step = f'[[step]]\ndo = "search"\nphoto = "ada.png"\nexpect = {{ {expectation} }}'
    (report,) = played(step).steps
    assert report.unmet == (finding,)


def test_an_expected_problem_is_met(gateway: FakeGateway, played: Player) -> None:
    gateway.answers(problem(422, "no-face"))
    report = played(
        '[[step]]\ndo = "search"\nphoto = "ada.png"\nexpect = { problem = "no-face", status = 422 }'
    )
    assert report.is_met
    assert (report.steps[0].status, report.steps[0].problem) == (422, "no-face")


def test_an_expected_outage_is_met(gateway: FakeGateway, played: Player) -> None:
    gateway.answers(problem(503, "inference-unavailable"))
    step = '[[step]]\ndo = "search"\nphoto = "ada.png"\nexpect = { status = 503 }'
    assert played(step).is_met


def test_another_problem_than_the_expected_one_is_not_met(
    gateway: FakeGateway, played: Player
) -> None:
    gateway.answers(problem(422, "face-too-small"))
    step = '[[step]]\ndo = "search"\nphoto = "ada.png"\nexpect = { problem = "no-face" }'
    assert played(step).steps[0].unmet == ("problem is face-too-small, not no-face",)


def test_after_an_unexpected_problem_the_rest_is_played(
    gateway: FakeGateway, played: Player
) -> None:
    gateway.answers(problem(422, "no-face", "No face was found"), ok({}, 201), ok(SEARCH, 201))
    report = played("""
        [[step]]
        do = "search"
        photo = "ada.png"
        save = { search = "id" }
        [[step]]
        do = "feedback"
        search = "$search"
        person = "p-ada"
        verdict = "same"
        [[step]]
        do = "feedback"
        search = "s-1"
        person = "p-ada"
        verdict = "same"
    """)
    assert [step.is_met for step in report.steps] == [False, False, True]
    assert report.steps[0].unmet == ("refused: no-face: No face was found",)
    assert "$search has no value" in report.steps[1].unmet[0]
    assert len(gateway.seen) == 2


SEARCH_STEP = 'do = "search"\nphoto = "ada.png"'
UNREADABLE = {
    "not TOML": ("[[step]", "cannot be read"),
    "no steps": ('name = "empty"', r"needs \[\[step\]\]s"),
    "an unknown head": ("nmae = 'x'\n[[step]]\n" + SEARCH_STEP, "nothing else"),
    "an unknown deed": ('[[step]]\ndo = "dance"', "step 1: do is 'dance'; there are enroll"),
    "an unknown member": (f"[[step]]\n{SEARCH_STEP}\ntopk = 3", r"step 1 \(search\): topk is not"),
    "an unknown wish": (
        f"[[step]]\n{SEARCH_STEP}\nexpect = {{ rang = 1 }}",
        r"step 1 \(search\) expect: rang is not known",
    ),
    "a missing member": ('[[step]]\ndo = "feedback"', "search and person and verdict must be said"),
    "a number for a text": ('[[step]]\ndo = "search"\nphoto = 5', "photo is 5, which is of the"),
    "a truth for a number": (f"[[step]]\n{SEARCH_STEP}\ntop_k = true", "top_k is True"),
    "a text for a list": ('[[step]]\ndo = "enroll"\nname = "A"\nphotos = "a.png"', "photos is"),
    "a text for a table": (f'[[step]]\n{SEARCH_STEP}\nsave = "id"', "save is not a table"),
    "a variable of nobody": (
        '[[step]]\ndo = "delete"\nperson = "$ada"',
        "step 1 uses .*ada.*, which nothing saved before",
    ),
}


@pytest.mark.parametrize(("text", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_script_that_cannot_be_followed_is_refused_before_anything_is_sent(
    write: Callable[[str], Path], text: str, reason: str
) -> None:
    with pytest.raises(ScenarioError, match=reason):
        read_scenario(write(text))


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere\.toml cannot be read"):
        read_scenario(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("file", sorted(ROOT.glob("mobile-client-mock/scenarios/*.toml")))
def test_the_scenarios_of_the_house_can_be_followed(file: Path) -> None:
    scenario = read_scenario(file)
    assert scenario.steps
