"""`mobile-client-mock search | enroll | person | feedback | scenario | load`."""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, RenderableType

from mobile_client_mock import display, load_display
from mobile_client_mock.client import Client, Connection, Patience, SearchOptions
from mobile_client_mock.errors import (
    ClientError,
    NotSaved,
    NotUnderstood,
    Refused,
    ScenarioError,
    Unreachable,
    UnusablePhoto,
)
from mobile_client_mock.load import Album, Load
from mobile_client_mock.load_report import Plan
from mobile_client_mock.photo import Upload, read_original, shrink
from mobile_client_mock.scenario import play, read_scenario

N = TypeVar("N", int, float)
DEFAULT_URL = "http://127.0.0.1:8000"
DEMO_PHOTOS = Path("tests/data/people")  # as seen from the checkout's root
SEEDS = 1_000_000
UNMET = 1
INTERRUPTED = 130
EXIT_CODES: Mapping[type[ClientError], int] = {
    ScenarioError: 2,
    UnusablePhoto: 3,
    Refused: 4,
    Unreachable: 5,
    NotUnderstood: 6,
    NotSaved: 7,
}
EPILOG = f"""\
exit codes:
  0  answered (whether or not there is a lead); every expectation of the scenario was met
  1  an expectation of the scenario was not met; a load lost a search or met a 500
  2  wrong arguments or a scenario file that cannot be followed
  3  the photo cannot be read; nothing was sent
  4  the gateway refused
  5  no answer from the gateway, or none but "not now"
  6  an answer that is not in the contract
  7  the heatmap or the report cannot be written
  130  interrupted; an interrupted load shows what it has measured and ends as above

environment: REUNITE_URL ({DEFAULT_URL}), REUNITE_KEY
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser(os.environ)
    asked = parser.parse_args(arguments)
    if not asked.key:
        parser.error("an API key is needed: --key or REUNITE_KEY")
    console = Console(highlight=False)
    patience = Patience(
        read_timeout_s=asked.timeout, attempts=asked.attempts, finish_within_s=asked.finish_within
    )
    try:
        return int(asked.run(asked, Connection(asked.url, asked.key, patience), console))
    except ClientError as error:
        _print_error(error, as_json=asked.json is True)
        return EXIT_CODES[type(error)]
    except KeyboardInterrupt:
        print("mobile-client-mock: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mobile-client-mock",
        description="Reunite's phone app, played from a terminal.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asking = _connection_options(environment)
    shared = [asking, _json_option()]
    _add_search(commands.add_parser("search", parents=shared, help="who is in this photo?"))
    _add_enroll(commands.add_parser("enroll", parents=shared, help="register a person"))
    _add_person(commands.add_parser("person", parents=shared, help="what became of the photos"))
    _add_feedback(commands.add_parser("feedback", parents=shared, help="judge a candidate"))
    _add_scenario(commands.add_parser("scenario", parents=shared, help="play steps of a file"))
    _add_load(commands.add_parser("load", parents=[asking], help="be many phones, and measure"))
    return parser


def _connection_options(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    url = environment.get("REUNITE_URL") or DEFAULT_URL
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--url", default=url, help="the gateway's address (%(default)s)")
    shared.add_argument("--key", default=environment.get("REUNITE_KEY"), help="an API key")
    shared.add_argument("--timeout", type=_seconds, default=60.0, metavar="S",
                        help="seconds to wait for an answer (%(default)g)")  # fmt: skip
    shared.add_argument("--attempts", type=_count, default=4, metavar="N",
                        help="tries of what was not answered (%(default)s)")  # fmt: skip
    shared.add_argument("--finish-within", type=_seconds, default=120.0, metavar="S",
                        help="seconds for a search that was accepted (%(default)g)")  # fmt: skip
    return shared


def _json_option() -> argparse.ArgumentParser:
    option = argparse.ArgumentParser(add_help=False)
    option.add_argument("--json", action="store_true", help="the gateway's JSON, or the report's")
    return option


def _seconds(text: str) -> float:
    return _above_zero(float(text))


def _rate(text: str) -> float:
    return _above_zero(float(text))


def _count(text: str) -> int:
    return _above_zero(int(text))


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _above_zero(number: N) -> N:
    if not number > 0:
        raise ValueError
    return number


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", type=Path)
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="candidates (5)")
    parser.add_argument("--model", help="heatmap (the gateway's default) or base")
    parser.add_argument("--face", type=int, metavar="I", help="which face; else the best one")
    parser.add_argument("--respond-async", action="store_true", help="ask for 202 and poll")
    parser.add_argument("--heatmap", type=Path, metavar="PNG", help="save what decided")
    _add_original(parser)
    parser.set_defaults(run=_search)


def _add_enroll(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("photos", type=Path, nargs="+", metavar="photo")
    _add_original(parser)
    parser.set_defaults(run=_enroll)


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("person_id")
    parser.set_defaults(run=_person)


def _add_feedback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("search_id")
    parser.add_argument("person_id")
    parser.add_argument("verdict", choices=("same", "different", "unsure"))
    parser.set_defaults(run=_feedback)


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.set_defaults(run=_scenario)


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--phones", type=_count, default=50, metavar="N", help="at a time, at most (%(default)s)")
    add("--rate", type=_rate, default=20.0, metavar="R",
        help="searches per second, begun whatever the gateway does (%(default)g)")  # fmt: skip
    add("--duration", type=_seconds, default=60.0, metavar="S", help="seconds (%(default)g)")
    add("--photos", type=Path, default=DEMO_PHOTOS, metavar="DIR",
        help="photos to vary, in sub-folders too (%(default)s)")  # fmt: skip
    add("--repeat-share", type=_share, default=0.5, metavar="0..1",
        help="of the searches send a photo that was sent before (%(default)g)")  # fmt: skip
    add("--respond-async", action="store_true", help="ask for 202 and poll")
    add("--seed", type=int, metavar="N",
        help="the same arrivals and photos again (a new one each time)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.set_defaults(run=_load)


def _add_original(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--original", action="store_true", help="send the file as it is")


def _search(asked: argparse.Namespace, connection: Connection, console: Console) -> int:
    photo = _upload(asked, asked.photo)
    options = SearchOptions(asked.top_k, asked.model, asked.face, asked.respond_async)
    with Client(connection) as client:
        with _live().status("asking the gateway") as line:  # seen by people alone
            search = client.search(photo, options, lambda it: line.update(display.show_waiting(it)))
        _show(asked, console, search.answer.document, display.show_search(search))
        if asked.heatmap:
            _save("heatmap", asked.heatmap, client.heatmap(search.id))
    return 0


def _enroll(asked: argparse.Namespace, connection: Connection, console: Console) -> int:
    photos = [_upload(asked, photo) for photo in asked.photos]
    with Client(connection) as client:
        person = client.enroll(asked.name, photos)
    _show(asked, console, person.answer.document, display.show_person(person))
    return 0


def _person(asked: argparse.Namespace, connection: Connection, console: Console) -> int:
    with Client(connection) as client:
        person = client.get_person(asked.person_id)
    _show(asked, console, person.answer.document, display.show_person(person))
    return 0


def _feedback(asked: argparse.Namespace, connection: Connection, console: Console) -> int:
    with Client(connection) as client:
        answer = client.judge(asked.search_id, asked.person_id, asked.verdict)
    _show(asked, console, answer.document, f"Noted: {asked.verdict}.")
    return 0


def _scenario(asked: argparse.Namespace, connection: Connection, console: Console) -> int:
    scenario = read_scenario(asked.file)
    with Client(connection) as client:
        report = play(scenario, client)
    _show(asked, console, report.document(), display.show_report(report))
    return 0 if report.is_met else UNMET


def _load(asked: argparse.Namespace, connection: Connection, console: Console) -> int:
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    plan = Plan(asked.phones, asked.rate, asked.duration, asked.repeat_share, seed)
    options = SearchOptions(respond_async=asked.respond_async)
    load = Load(plan, Album.read(asked.photos, seed), connection, options)
    with load_display.watching(plan, _live()) as watch:
        report = load.run(watch)
    console.print(load_display.show_load(report))
    if asked.json:
        written = json.dumps(report.document(), ensure_ascii=False, indent=2)
        _save("figures", asked.json, f"{written}\n".encode())
    return 0 if report.is_clean else UNMET


def _live() -> Console:
    """What comes and goes while somebody waits; stdout is for what stays."""
    return Console(stderr=True, highlight=False)


def _upload(asked: argparse.Namespace, photo: Path) -> Upload:
    return read_original(photo) if asked.original else shrink(photo)


def _save(what: str, file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise NotSaved(f"{file} cannot be written: {error.strerror}") from error
    print(f"{what}: {file}", file=sys.stderr)


def _show(
    asked: argparse.Namespace,
    console: Console,
    document: Mapping[str, Any],
    rendered: RenderableType,
) -> None:
    if asked.json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        console.print(rendered)


def _print_error(error: ClientError, *, as_json: bool) -> None:
    """For people on stderr; with --json the problem itself, as it came."""
    problem = error if isinstance(error, Refused) else getattr(error, "problem", None)
    if as_json and problem:
        print(json.dumps(dict(problem.members), ensure_ascii=False, indent=2))
    traced = f" [request {problem.request_id}]" if problem and problem.request_id else ""
    print(f"mobile-client-mock: {error}{traced}", file=sys.stderr)
