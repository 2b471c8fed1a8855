"""How long the server takes for every page of the console, among 10,000 people and searches.

    .venv/bin/python tests/benchmarks/pages.py [--people N] [--searches N]

Every page that an admin can reach by links is asked for in turn, each kind a few times with other
people and searches, and the lists with each filter, which no link sets: a common value, a rare one
and one that nothing has. From the request to the last byte of HTML, over loopback, both servers on
this machine. The gallery holds as many generated faces. Written to pages.md and pages.json in
tests/reports.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import requests
from filled_gateway import SEED, fill
from generated_faces import Population, enrol

from face_models.pipeline import Pipeline
from face_models.training.provenance import provenance
from inference_server.face_pipeline import stamp_of

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a script: the demo's servers are used as they are

from demo.servers import House, Plan, running  # noqa: E402

REPORTS = ROOT / "tests" / "reports"
AIM_MS: Final = 200.0
ROUNDS: Final = 60
MOST_OF_A_KIND: Final = 5
ROW_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}")
LINK: Final = re.compile(r'href="((?:/console/|/v1/searches/[^"#/]*/report)[^"#]*)"')
FILTERED: Final = (
    *(f"/console/people?q={part}" for part in ("ada", "2026/77", "nobody")),
    *(f"/console/people?photos={state}" for state in ("pending", "refused")),
    *(f"/console/people?status={status}" for status in ("missing", "found")),
    *(f"/console/people?since={day}" for day in ("2026-01-01", "2999-01-01")),
    *(f"/console/searches?case_reference={part}" for part in ("case", "case+77", "none")),
    *(f"/console/searches?verdict={verdict}" for verdict in ("lead", "no_credible_lead")),
    *(f"/console/searches?status={status}" for status in ("done", "failed", "running")),
    *(f"/console/searches?since={day}" for day in ("2026-01-01", "2999-01-01")),
    "/console/searches?case_reference=none&verdict=lead",
)
UNDISTURBED: Final = {"RETENTION_DAYS": "0", "RATE_ADMIN": "none"}
LEFT_OUT: Final = ("/console/static", "/console/preferences", "/console/sign-in")
DATA = "rows by tests/benchmarks/filled_gateway.py, faces by tests/benchmarks/generated_faces.py"
Times = Mapping[str, Sequence[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=10_000)
    asked = parser.parse_args()
    os.environ.update(UNDISTURBED)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Plan.on_free_ports(Path(folder))) as house,
    ):
        key = house.make_key("admin", "the benchmark")
        fill_both(house, key, asked.people, asked.searches)
        times = measure(Console(house.plan.gateway_url, key))
        load = os.getloadavg()[0]
    figures = [figures_of(page, taken) for page, taken in times.items()]
    write(figures, asked.people, asked.searches, load)


def fill_both(house: House, key: str, people: int, searches: int) -> None:
    began_s = time.monotonic()
    fill(house.plan.data / "gateway.db", people, searches, key.split("_")[1])
    faces = Population("people", people)
    enrol(faces, house.plan.data / "gallery.db", stamp_of(Pipeline.load()))
    print(f"{people} people and {searches} searches written in {time.monotonic() - began_s:.1f} s")


class Console:
    """An admin's browser, as far as the server sees it."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.headers["Accept"] = "application/json"
        token = self._http.get(f"{url}/console/sign-in").json()["csrf_token"]
        form = {"key": key, "csrf_token": token}
        self._http.post(f"{url}/console/sign-in", data=form).raise_for_status()
        self._http.headers["Accept"] = "text/html"

    def get(self, path: str) -> tuple[str, float]:
        """The page, and how long it took in ms."""
        began_s = time.perf_counter()
        answer = self._http.get(self._url + path)
        took_ms = 1000 * (time.perf_counter() - began_s)
        answer.raise_for_status()
        is_page = answer.headers["Content-Type"].startswith("text/html")
        return (answer.text if is_page else ""), took_ms


def measure(console: Console) -> Times:
    kinds = found_pages(console)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(ROUNDS):
        for kind, paths in kinds.items():
            times[kind].append(console.get(paths[turn % len(paths)])[1])
    return times


def found_pages(console: Console) -> Mapping[str, Sequence[str]]:
    """By kind: what links lead to, a few of each."""
    kinds: dict[str, list[str]] = {}
    waiting = ["/console/search", *FILTERED]
    while waiting:
        path = waiting.pop(0)
        known = kinds.setdefault(kind_of(path), [])
        if path in known or len(known) == MOST_OF_A_KIND:
            continue
        page, _ = console.get(path)
        if page:
            known.append(path)
            waiting += links_in(page)
    return {kind: paths for kind, paths in sorted(kinds.items()) if paths}


def links_in(page: str) -> Iterator[str]:
    for link in LINK.findall(page):
        if not link.startswith(LEFT_OUT):
            yield html.unescape(link)


def kind_of(path: str) -> str:
    """Ids and values are left out: /console/people/{id}?cursor, for example."""
    place, _, query = path.partition("?")
    names = sorted({part.partition("=")[0] for part in query.split("&") if part})
    return ROW_ID.sub("{id}", place) + ("?" + "&".join(names) if names else "")


def figures_of(page: str, times_ms: Sequence[float]) -> Mapping[str, str | float]:
    p95_ms = quantiles(times_ms, n=20)[-1]
    return {"page": page, "p50_ms": round(median(times_ms), 1), "p95_ms": round(p95_ms, 1)}


def write(
    figures: Sequence[Mapping[str, str | float]], people: int, searches: int, load: float
) -> None:
    """`load`: how many processes wanted the cores meanwhile."""
    source = asdict(provenance(DATA, SEED))
    document = {
        "pages": figures,
        "people": people,
        "searches": searches,
        "rounds": ROUNDS,
        "load_average": round(load, 1),
        **source,
    }
    (REPORTS / "pages.json").write_text(json.dumps(document, indent=2) + "\n")
    slow = [one["page"] for one in figures if float(one["p95_ms"]) >= AIM_MS]
    verdict = (
        f"Over the aim at p95: {', '.join(map(str, slow))}." if slow else "Every page keeps it."
    )
    lines = [
        "# The console's pages",
        "",
        f"Server time over loopback, {people} people, {searches} searches, {ROUNDS} requests each.",
        f"The aim is less than {AIM_MS:g} ms. {verdict}",
        f"Load average meanwhile: {load:.1f}; others used the machine as far as it is above 2.",
        "",
        f"`{source['command']}`, commit {source['commit']}, {source['date']}, {source['machine']}.",
        "",
        "| page | p50 ms | p95 ms |",
        "| --- | ---: | ---: |",
        *(f"| `{one['page']}` | {one['p50_ms']} | {one['p95_ms']} |" for one in figures),
    ]
    text = "\n".join(lines) + "\n"
    (REPORTS / "pages.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
