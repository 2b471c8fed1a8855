import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mobile_client_mock.answers import Answer, Search
from mobile_client_mock.cli import EXIT_CODES, INTERRUPTED, main
from mobile_client_mock.display import show_search
from mobile_client_mock.errors import ClientError
from tests.mobile_client_mock.conftest import KEY
from tests.mobile_client_mock.documents import PERSON, QUEUED, SEARCH
from tests.mobile_client_mock.fake_gateway import FakeGateway, Reply, ok, problem

Phone = Callable[..., int]


@pytest.fixture
def phone(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> Phone:
    monkeypatch.setenv("REUNITE_URL", gateway.url)
    monkeypatch.setenv("REUNITE_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "110")

    def run(*arguments: object) -> int:
        return main([*map(str, arguments), "--attempts", "1"])

    return run


def test_a_search_is_shown_as_a_table(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok(SEARCH, 201))
    assert phone("search", photo) == 0
    shown = capsys.readouterr().out
    assert "A lead" in shown
    assert "Ada [b]Example" in shown, "a name is never markup"
    for figure in ("0.710", "99.8%", "0.004", " 120 ", "40 persons", "s-1", "(deleted since)"):
        assert figure in shown


def test_no_credible_lead_is_said_in_words(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    face = SEARCH["faces"][0]
    gateway.answers(
        ok(
            {
                **SEARCH,
                "verdict": "no_credible_lead",
                "warnings": ["several_faces"],
                "faces": [face, face],
            },
            201,
        )
    )
    assert phone("search", photo) == 0
    shown = capsys.readouterr().out
    assert "No credible lead" in shown
    assert "several faces" in shown
    assert "face 0 of 2" in shown


def test_json_is_the_gateways_own(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok(SEARCH, 201))
    assert phone("search", photo, "--json") == 0
    assert json.loads(capsys.readouterr().out) == SEARCH


def test_the_heatmap_is_saved_where_it_is_wanted(
    gateway: FakeGateway, phone: Phone, photo: Path, tmp_path: Path
) -> None:
    gateway.answers(ok(SEARCH, 201), Reply(200, b"\x89PNG", "image/png"))
    assert phone("search", photo, "--heatmap", tmp_path / "out.png") == 0
    assert (tmp_path / "out.png").read_bytes() == b"\x89PNG"


def test_a_heatmap_that_cannot_be_written_is_an_error_in_words(
    gateway: FakeGateway, phone: Phone, photo: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    gateway.answers(ok(SEARCH, 201), Reply(200, b"\x89PNG", "image/png"))
    assert phone("search", photo, "--heatmap", tmp_path / "no" / "out.png") == 7
    assert "out.png cannot be written" in capsys.readouterr().err


def test_a_photo_goes_as_it_is_only_when_asked(
    gateway: FakeGateway, phone: Phone, photo: Path
) -> None:
    gateway.answers(ok(SEARCH, 201))
    phone("search", photo, "--original")
    phone("search", photo)
    contents = [request.parts[-1][2] for request in gateway.seen]
    assert contents[0] == photo.read_bytes() != contents[1]


def test_an_enrolment_names_the_photos_that_were_refused(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok(PERSON, 201))
    assert phone("enroll", "Ada Example", photo, photo, photo) == 0
    shown = capsys.readouterr().out
    assert "1 face: p-ada" in shown
    assert "1 photo pending" in shown
    assert "photo 2: No face was found" in shown


def test_an_enrolment_that_waits_is_shown_as_one(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = [{"index": n, "status": "pending", "face_id": f"f-{n}"} for n in range(2)]
    gateway.answers(ok({**PERSON, "photos": waiting}, 202))
    assert phone("enroll", "Ada Example", photo, photo) == 0
    shown = capsys.readouterr().out
    assert "Ada Example is registered: p-ada" in shown
    assert "2 photos pending" in shown


def test_a_person_is_shown_with_the_photos_that_were_refused_since(
    gateway: FakeGateway, phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"type": "urn:reunite:problem:no-face", "title": "No face", "detail": "Nobody there"}
    refused = [{"face_id": "f-1", "refused_at": "2026-01-15T09:30:00Z", "problem": problem}]
    faces = [{"face_id": "f-2", "status": "enrolled"}, {"face_id": "f-3", "status": "pending"}]
    known = {"id": "p-ada", "name": "Ada Example"}
    gateway.answers(
        ok({**known, "faces": faces, "refused_photos": refused}),
        ok({**known, "faces": [], "refused_photos": refused}),
    )
    assert (phone("person", "p-ada"), phone("person", "p-ada")) == (0, 0)
    shown = capsys.readouterr().out
    assert "Ada Example is enrolled with 1 face: p-ada" in shown
    assert "1 photo pending" in shown
    assert "Ada Example is enrolled with 0 faces: p-ada" in shown
    assert shown.count("a refused photo: Nobody there") == 2
    assert [one.path for one in gateway.seen] == ["/v1/persons/p-ada"] * 2


def test_a_search_that_was_queued_is_shown_when_it_is_done(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok(QUEUED, 202), ok(SEARCH))
    assert phone("search", photo, "--finish-within", "0.3") == 0  # the last look is then
    assert "A lead" in capsys.readouterr().out


def test_a_search_that_stays_queued_is_named(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok(QUEUED, 202))
    assert phone("search", photo, "--finish-within", "0.05") == 5
    assert "Search s-1 is still queued after 0.05 s" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["queued", "running"])
def test_an_unfinished_search_has_words(status: str) -> None:
    console = Console(width=110)
    search = Search.of(Answer(202, {**QUEUED, "status": status}, "req-1"))
    with console.capture() as shown:
        console.print(show_search(search))
    assert shown.get().startswith(f"{status}: ")
    assert "search s-1" in shown.get()


def test_a_deletion_that_waits_is_shown_in_the_scenarios_report(
    gateway: FakeGateway, phone: Phone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok({"id": "p-ada", "status": "deleting"}, 202))
    file = tmp_path / "scenario.toml"
    file.write_text('[[step]]\ndo = "delete"\nperson = "p-ada"\n')
    assert phone("scenario", file) == 0
    assert "202 deleting" in capsys.readouterr().out


def test_feedback_is_sent(gateway: FakeGateway, phone: Phone) -> None:
    gateway.answers(ok({}, 201))
    assert phone("feedback", "s-1", "p-ada", "different") == 0
    assert gateway.seen[0].path == "/v1/searches/s-1/feedback"


def scenario_expecting(folder: Path, verdict: str) -> Path:
    file = folder / "scenario.toml"
    step = 'do = "search"\nphoto = "Grandma at home.jpg"'
    file.write_text(f'name = "Found"\n[[step]]\n{step}\nexpect = {{ verdict = "{verdict}" }}\n')
    return file


@pytest.mark.parametrize(("verdict", "code"), [("lead", 0), ("no_credible_lead", 1)])
def test_a_scenarios_exit_code_says_whether_it_was_met(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str],
    verdict: str, code: int,
) -> None:  # fmt: skip
    gateway.answers(ok(SEARCH, 201))
    file = scenario_expecting(photo.parent, verdict)
    assert phone("scenario", file) == code
    assert "req-1" in capsys.readouterr().out
    assert phone("scenario", file, "--json") == code
    assert json.loads(capsys.readouterr().out)["met"] is (code == 0)


FAILURES = {
    "a scenario that is none": (2, ("scenario", "{photo}"), ok({}), "cannot be read"),
    "a photo that is none": (3, ("search", __file__), ok({}), "is not a photo"),
    "a refusal": (4, ("search", "{photo}"), problem(422, "no-face"), "no-face [request req-1]"),
    "not now": (5, ("search", "{photo}"), problem(503, "not-ready"), "not-ready"),
    "no answer": (5, ("search", "{photo}"), Reply(200, hangs_up="before"), "No answer from"),
    "nonsense": (6, ("search", "{photo}"), Reply(201, b"<html>"), "is not JSON"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_each_failure_has_its_exit_code_and_words(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    code, command, reply, words = FAILURES[case]
    gateway.answers(reply)
    assert phone(*(part.format(photo=photo) for part in command)) == code
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err + said.out


def test_with_json_a_refusal_is_the_problem_as_it_came(
    gateway: FakeGateway, phone: Phone, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(problem(422, "no-face"))
    assert phone("search", photo, "--json") == 4
    assert json.loads(capsys.readouterr().out)["type"] == "urn:reunite:problem:no-face"


WRONG_ARGUMENTS = [
    [],
    ["search"],
    ["enroll", "Ada"],
    ["feedback", "s", "p", "perhaps"],
    ["search", "a.jpg", "--timeout", "0"],
    ["search", "a.jpg", "--attempts", "0"],
    ["search", "a.jpg", "--top-k", "many"],
    ["search", "a.jpg", "--finish-within", "0"],
    ["load", "--phones", "0"],
    ["load", "--rate", "0"],
    ["load", "--repeat-share", "1.1"],
    ["load", "--json"],
]


@pytest.mark.parametrize("arguments", WRONG_ARGUMENTS, ids=" ".join)
def test_wrong_arguments_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REUNITE_KEY", KEY)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage:" in capsys.readouterr().err


def test_without_a_key_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REUNITE_KEY", raising=False)
    with pytest.raises(SystemExit, match="2"):
        main(["search", "a.jpg"])
    assert "REUNITE_KEY" in capsys.readouterr().err


def test_every_kind_of_error_has_an_exit_code() -> None:
    assert set(EXIT_CODES) == set(ClientError.__subclasses__())
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for code in (0, 1, INTERRUPTED, *EXIT_CODES.values()):
        assert f"\n  {code}  " in shown
