"""`python -m demo run` shows the whole way of a photo; `python -m demo up` keeps serving."""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from demo import journey, people, picture, report, servers
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.display import show_search
from mobile_client_mock.errors import ClientError

ROOT = Path(__file__).resolve().parent.parent
DEMO_PEOPLE = ROOT / "tests" / "data" / "people"
LEAST_RANK_1 = 0.95  # of the demo people; one's own photos may be as hard as they are
T = TypeVar("T")
GATEWAY_PORT, INFERENCE_PORT = 8000, 8001
console = Console(highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    # all like Ctrl-C: servers are stopped; a background shell has SIGINT ignored
    for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stopping, signal.default_int_handler)
    try:
        return int(asked.run(asked))
    except (people.NoPeople, servers.ServerFailed, ClientError) as error:
        _say(f"demo: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        _say("Stopped.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m demo", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="enrol, search, show, stop")
    run.add_argument("--photos", type=Path, metavar="DIR", help="one sub-folder for each person")
    run.add_argument("--people", type=int, metavar="N", help="only the first N of them")
    run.add_argument(
        "--least", type=int, default=1, metavar="N", help="people with N photos or more"
    )
    run.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    run.add_argument("--picture", type=Path, default=ROOT / "runs" / "demo.png", metavar="PNG")
    run.set_defaults(run=_run)
    up = commands.add_parser("up", help="start both servers and keep them running")
    up.add_argument("--photos", type=Path, metavar="DIR", help="enrol these people first")
    up.add_argument("--data", type=Path, default=ROOT / "data", metavar="DIR")
    up.set_defaults(run=_up)
    return parser


def _run(asked: argparse.Namespace) -> int:
    started_s = time.monotonic()
    subjects = people.read_people(asked.photos or DEMO_PEOPLE, asked.people, asked.least)
    with tempfile.TemporaryDirectory(prefix="reunite-demo-") as folder:
        plan = servers.Plan.on_free_ports(Path(folder))
        with _house(plan) as house:
            enrolment, probes = _travel(house, subjects, asked.picture)
    hits = journey.count_hits(probes, enrolment.left_out)
    _print_hits(hits, probes)
    if asked.json:
        report.write(asked.json, enrolment, probes, hits)
    _say(f"\nAll in {time.monotonic() - started_s:.1f} s; nothing is left running.")
    is_enough = bool(asked.photos) or hits.at_rank_1 >= LEAST_RANK_1
    if not is_enough:
        _say(f"Rank-1 is below the {LEAST_RANK_1:.0%} that the demo people must reach.")
    return 0 if is_enough and hits.probes else 1


def _travel(
    house: servers.House, subjects: Sequence[people.Subject], target: Path
) -> tuple[journey.Enrolment, Sequence[journey.Probe]]:
    """The operator enrols, the phone searches, one search is shown."""
    enrolment = _enrol(house, subjects)
    with _phone(house, "mobile", "the demo's phone") as phone:
        with _told("The phone searches with the held-out photos"):
            probes = journey.search(phone, enrolment, _bar("searching"))
        _show_one(phone, enrolment, probes, target)
    return enrolment, probes


def _enrol(house: servers.House, subjects: Sequence[people.Subject]) -> journey.Enrolment:
    photos = sum(len(subject.enrolled) for subject in subjects)
    with (
        _told(f"An operator enrols {len(subjects)} people with {photos} photos"),
        _phone(house, "operator", "the demo's operator") as phone,
    ):
        enrolment = journey.enrol(phone, subjects, _bar("enrolling"))
    for complaint in enrolment.complaints:
        _say(f"  refused: {complaint.photo}: {complaint.reason}")
    return enrolment


def _show_one(
    phone: Client, enrolment: journey.Enrolment, probes: Sequence[journey.Probe], target: Path
) -> None:
    shown = next((probe for probe in probes if probe.search), None)
    if shown is None or shown.search is None:
        return
    _say(f"\nOne of the searches, with {shown.photo}:")
    console.print(show_search(shown.search))
    heatmap = phone.heatmap(shown.search.id)
    drawn = picture.draw_search(
        shown.search, shown.photo, heatmap, enrolment.portraits, shown.person_id
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn.save(target)
    _say(f"\nThe same as a picture: {target}")


def _print_hits(hits: journey.HitRate, probes: Sequence[journey.Probe]) -> None:
    shares = f"rank-1 {_share(hits.rank_1, hits.probes)}, rank-5 {_share(hits.rank_5, hits.probes)}"
    _say(f"Hit rate over {hits.probes} held-out photos: {shares}", style="bold")
    for probe in probes:
        if probe.rank != 1:
            became = probe.refusal or f"found at rank {probe.rank or 'above 5'}"
            _say(f"  {probe.photo}: {became}")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part}/{whole})" if whole else "of nobody"


def _up(asked: argparse.Namespace) -> int:
    plan = servers.Plan.on_free_ports(asked.data.resolve(), GATEWAY_PORT, INFERENCE_PORT)
    with suppress(KeyboardInterrupt), _house(plan) as house, _operators_key(plan) as key:
        if asked.photos:
            _enrol(house, people.read_people(asked.photos))
        _print_doors(plan, key)
        while True:
            house.check()
            time.sleep(1)
    return 0


@contextmanager
def _operators_key(plan: servers.Plan) -> Iterator[str]:
    """A key that opens nothing once the servers are stopped: starts leave no keys behind."""
    key = servers.make_key(plan, "operator", f"make up, {datetime.now().astimezone():%F %R}")
    try:
        yield key
    finally:
        servers.revoke_key(plan, key)


def _print_doors(plan: servers.Plan, key: str) -> None:
    url = plan.gateway_url
    enrolled, probe = (_quoted(DEMO_PEOPLE / "demo-ada" / name) for name in ("1.webp", "4.webp"))
    curl = '  curl -H "Authorization: Bearer $REUNITE_KEY"'
    lines = [
        "",
        f"gateway            {url}   (its documentation: {url}/docs)",
        f"inference server   {plan.inference_url}   (for the gateway only)",
        f"data and logs      {plan.data}",
        f"operator's key     {key}",
        f"the console        {url}/console   (sign in with the key)",
        f"the phone page     {url}/app",
        "",
        "Register somebody, then search with another photo of them:",
        "",
        f"  export REUNITE_URL={url} REUNITE_KEY={key}",
        f'{curl} -F name="Demo Ada" -F photos=@{enrolled} $REUNITE_URL/v1/persons',
        f"{curl} -F photo=@{probe} $REUNITE_URL/v1/searches",
        "",
        "Ctrl-C stops both.",
    ]
    _say("\n".join(lines))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


@contextmanager
def _house(plan: servers.Plan) -> Iterator[servers.House]:
    """Both servers, ready; on the way out they are stopped, and that is told as well."""
    with ExitStack() as stack:
        with _told("Starting the inference server and the gateway"):
            house = stack.enter_context(servers.running(plan))
        try:
            yield house
        finally:
            with _told("Stopping both"):
                stack.close()


@contextmanager
def _phone(house: servers.House, role: str, owner: str) -> Iterator[Client]:
    connection = Connection(house.plan.gateway_url, house.make_key(role, owner))
    with Client(connection) as phone:
        yield phone


def _bar(doing: str) -> journey.Track:
    def follow(sequence: Sequence[T], /) -> Iterable[T]:
        quiet = not console.is_terminal
        return track(sequence, f"  {doing}", console=console, transient=True, disable=quiet)

    return follow


def _say(text: str, style: str = "") -> None:
    """As it is: a path is neither markup nor broken into lines."""
    console.print(text, style=style, markup=False, soft_wrap=True)


@contextmanager
def _told(deed: str) -> Iterator[None]:
    """Says what is done, and then how long it took."""
    started_s = time.monotonic()
    _say(deed)
    try:
        yield
    finally:
        _say(f"  {time.monotonic() - started_s:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
