"""The OpenAPI document against the running gateway: every answer is one that it documents."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import shrink
from tests.house.tree import ROOT
from tests.system.drills.estate import Estate, demo_people, estate
from tests.system.drills.size import Size

SEED = 7
PHASES = "examples,coverage,fuzzing,stateful"
ANSWER_WITHIN_S = 60
WITHIN_S = 1800
LONGEST_LINE = 1000
MUST_WORK = {
    "mobile": {"POST /v1/searches"},
    "operator": {"POST /v1/searches", "GET /v1/persons/{person_id}", "POST /v1/imports"},
    "admin": {"POST /v1/searches", "GET /v1/persons/{person_id}", "POST /v1/keys"},
    "nobody": set[str](),
}
"""Whatever else was tried: without these, refusals alone were."""
NOT_SAYABLE = {
    "invalid-cursor": "a cursor comes from the page before",
    "idempotency-key-reused": "another request came under that name before",
    "invalid-text": "control characters are refused after blanks around the text are taken off",
    "no-such-face": "how many faces there are is in the photo",
    "candidate-not-in-search": "who is a candidate is in the search",
}
"""Refusals of what the document allows, for reasons that no schema can state; all others count."""


@dataclass(frozen=True)
class Explored:
    role: str
    answers: Mapping[tuple[str, int], int]
    excused: Mapping[str, int]

    @property
    def done(self) -> set[str]:
        return {operation for operation, status in self.answers if status < 300}

    def check(self) -> None:
        statuses = {status for _, status in self.answers}
        assert not statuses & {429, 500, 503}, f"as {self.role}: {sorted(statuses)}"
        assert self.done >= MUST_WORK[self.role], f"as {self.role} only {sorted(self.done)} worked"

    def __str__(self) -> str:
        statuses = Counter[int]()
        for (_, status), count in self.answers.items():
            statuses[status // 100] += count
        classes = ", ".join(f"{count} x {one}xx" for one, count in sorted(statuses.items()))
        tried = len({operation for operation, _ in self.answers})
        return f"as {self.role} {classes}, {len(self.done)} of {tried} operations done"


def openapi(folder: Path, size: Size) -> str:
    """Schemathesis with all checks, as each role and as a stranger, all at the same time."""
    with estate(folder) as house, ThreadPoolExecutor(len(MUST_WORK)) as explorers:
        _register_people(house)
        explored = list(explorers.map(partial(_explore, house, size), MUST_WORK))
        house.gateways[0].server.check()
    for one in explored:
        one.check()
    excused = sum((Counter(one.excused) for one in explored), Counter[str]())
    told = "; ".join(map(str, explored))
    reasons = ", ".join(
        f"{count} x {slug} ({NOT_SAYABLE[slug]})" for slug, count in sorted(excused.items())
    )
    return (
        f"seed {SEED}, {size.examples} examples, {PHASES.replace(',', ', ')}: {told}; all checks; "
        f"refused for what no schema can say: {reasons or 'nothing'}"
    )


def _register_people(house: Estate) -> None:
    """Lists that are empty lead nowhere."""
    with Client(Connection(house.urls[0], house.operator_key)) as operator:
        for one in demo_people(3):
            operator.enroll(one.name, [shrink(photo) for photo in one.enrolled])


def _explore(house: Estate, size: Size, role: str) -> Explored:
    keys = {"mobile": house.mobile_key, "operator": house.operator_key, "admin": house.admin_key}
    explored = house.folder / f"explored-{role}.json"
    done = subprocess.run(
        _command(house.urls[0], keys.get(role), size),
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.system.drills.explorer",
            "OUR_KEYS": ",".join(key.split("_")[1] for key in keys.values()),
            "EXPLORED": str(explored),
        },
        capture_output=True, text=True, check=False, timeout=WITHIN_S, cwd=house.folder,
    )  # fmt: skip
    assert done.returncode == 0, f"as {role}:\n{_readable(done.stdout)}{done.stderr[-2000:]}"
    told = json.loads(explored.read_text(encoding="utf-8"))
    answers = {(operation, status): count for operation, status, count in told["answers"]}
    return Explored(role, answers, told["excused"])


def _readable(findings: str) -> str:
    """Without the photos in them, and what is not of this API's making."""
    lines = findings.partition("= FAILURES =")[2].partition("= WARNINGS =")[0].splitlines()
    return "\n".join(line for line in lines if line.isascii() and 0 < len(line) < LONGEST_LINE)


def _command(url: str, key: str | None, size: Size) -> Sequence[str]:
    return [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json",
        *(["--header", f"Authorization: Bearer {key}"] if key else []),
        "--checks", "all", "--phases", PHASES, "--max-examples", str(size.examples),
        "--seed", str(SEED), "--generation-database", "none",
        "--request-timeout", str(ANSWER_WITHIN_S), "--continue-on-failure", "--no-color",
    ]  # fmt: skip
