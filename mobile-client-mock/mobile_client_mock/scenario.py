"""A script of steps and expectations in TOML, so that an operator can replay what a phone met.

    name = "An enrolled person is found again"

    [[step]]
    do = "enroll"
    name = "Demo Ada"
    photos = ["ada-1.jpg", "ada-2.jpg"]     # beside the scenario file
    save = { ada = "id" }                   # $ada from here on: a member of the answer

    [[step]]
    do = "search"
    photo = "ada-3.jpg"
    expect = { person = "$ada", rank_at_most = 1, similarity_at_least = 0.3, verdict = "lead" }

Steps are enroll, search, feedback, delete, wait, and expect: another look at an earlier search. A
step that expects neither a status nor a problem expects to succeed. Unknown members are refused.
"""

import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, get_args, get_origin

from mobile_client_mock.answers import Answer
from mobile_client_mock.client import Client
from mobile_client_mock.errors import (
    ClientError,
    NotUnderstood,
    Refused,
    ScenarioError,
    Unreachable,
)
from mobile_client_mock.steps import STEPS, Expectation, Phone, Step

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class ScriptedStep:
    kind: str
    step: Step
    expect: Expectation
    save: Mapping[str, str]  # variable: dotted path in the answer


@dataclass(frozen=True)
class Scenario:
    name: str
    folder: Path
    steps: tuple[ScriptedStep, ...]


@dataclass(frozen=True)
class StepReport:
    title: str
    status: int | None
    problem: str | None
    state: str | None  # done, or deleting where the gallery has yet to forget a person
    request_id: str
    duration_s: float
    unmet: tuple[str, ...]

    @property
    def is_met(self) -> bool:
        return not self.unmet


@dataclass(frozen=True)
class Report:
    name: str
    steps: tuple[StepReport, ...]

    @property
    def is_met(self) -> bool:
        return all(step.is_met for step in self.steps)

    def document(self) -> dict[str, Any]:
        return {"met": self.is_met, **asdict(self)}


def read_scenario(file: Path) -> Scenario:
    """Raises ScenarioError for whatever is wrong with it, before anything is sent."""
    try:
        script = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{file} cannot be read: {error}") from error
    unknown = script.keys() - {"name", "step"}
    if unknown or not isinstance(script.get("step"), list):
        raise ScenarioError(f"{file} needs [[step]]s and may have a name; nothing else")
    steps = tuple(_scripted(n, dict(members)) for n, members in enumerate(script["step"], start=1))
    _check_variables(steps)
    return Scenario(str(script.get("name", file.stem)), file.parent, steps)


def play(scenario: Scenario, client: Client, sleep: Callable[[float], None] = time.sleep) -> Report:
    """Every step is played, whatever became of those before it."""
    phone = Phone(client, scenario.folder, sleep)
    variables: dict[str, str] = {}
    reports = []
    for scripted in scenario.steps:
        report, saved = _play_step(scripted, phone, variables)
        variables |= saved
        reports.append(report)
    return Report(scenario.name, tuple(reports))


def _play_step(
    scripted: ScriptedStep, phone: Phone, variables: Mapping[str, str]
) -> tuple[StepReport, Mapping[str, str]]:
    started_s = time.perf_counter()
    report = partial(_report, scripted, started_s)
    try:
        expect = _filled(scripted.expect, variables)
        answer = _play(_filled(scripted.step, variables), phone, expect)
        unmet = tuple(expect.unmet_by(answer))
        return report(answer, unmet), _saved(scripted.save, answer)
    except Refused as problem:
        return report(_answer_of(problem), (f"refused: {problem}",)), {}
    except ClientError as error:
        return report(None, (str(error),)), {}


def _play(step: Step, phone: Phone, expect: Expectation) -> Answer:
    """An expected problem is an answer like any other."""
    try:
        return step.play(phone)
    except (Refused, Unreachable) as error:
        problem = error if isinstance(error, Refused) else error.problem
        if problem is None or not expect.expects_refusal:
            raise
        return _answer_of(problem)


def _report(
    scripted: ScriptedStep, started_s: float, answer: Answer | None, unmet: tuple[str, ...]
) -> StepReport:
    return StepReport(
        title=scripted.kind,
        status=(answer.status or None) if answer else None,
        problem=answer.problem if answer else None,
        state=answer.state if answer else None,
        request_id=answer.request_id if answer else "",
        duration_s=round(time.perf_counter() - started_s, 3),
        unmet=unmet,
    )


def _answer_of(problem: Refused) -> Answer:
    return Answer(problem.status, problem.members, problem.request_id)


def _filled(members: T, variables: Mapping[str, str]) -> T:
    """`members` with each text `$name` replaced by what was saved under it."""

    def fill(value: object) -> object:
        if not _is_variable(value):
            return value
        if value not in variables:
            raise ScenarioError(f"{value} has no value: the step that saves it did not succeed")
        return variables[value]

    known = {one.name: fill(getattr(members, one.name)) for one in fields(members)}
    return replace(members, **known)


def _is_variable(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.startswith("$")


def _saved(paths: Mapping[str, str], answer: Answer) -> dict[str, str]:
    return {f"${name}": _member(answer.document, path) for name, path in paths.items()}


def _member(document: Mapping[str, Any], path: str) -> str:
    """`candidates.0.person_id` of the answer."""
    found: Any = document
    for part in path.split("."):
        try:
            found = found[int(part) if isinstance(found, list) else part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise NotUnderstood(f"The answer has no {path}") from error
    return str(found)


def _scripted(number: int, members: dict[str, Any]) -> ScriptedStep:
    kind = members.pop("do", None)
    if kind not in STEPS:
        raise ScenarioError(f"step {number}: do is {kind!r}; there are {', '.join(STEPS)}")
    where = f"step {number} ({kind})"
    expect = _build(Expectation, _table(where, "expect", members), f"{where} expect")
    save = _table(where, "save", members)
    if not all(isinstance(path, str) for path in save.values()):
        raise ScenarioError(f"{where}: save needs a member's path for each variable")
    return ScriptedStep(kind, _build(STEPS[kind], members, where), expect, save)


def _table(where: str, name: str, members: dict[str, Any]) -> dict[str, Any]:
    table = members.pop(name, {})
    if not isinstance(table, dict):
        raise ScenarioError(f"{where}: {name} is not a table")
    return table


def _build(kind: type[T], members: Mapping[str, Any], where: str) -> T:
    known = {one.name: one for one in fields(kind)}
    for name, value in members.items():
        if name not in known:
            raise ScenarioError(f"{where}: {name} is not known; there are {', '.join(known)}")
        if not _fits(value, known[name].type):
            raise ScenarioError(f"{where}: {name} is {value!r}, which is of the wrong kind")
    missing = [n for n, one in known.items() if one.default is MISSING and n not in members]
    if missing:
        raise ScenarioError(f"{where}: {' and '.join(missing)} must be said")
    return kind(**members)


def _fits(value: object, kind: object) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(kind, type) and isinstance(value, kind)


def _check_variables(steps: Sequence[ScriptedStep]) -> None:
    saved: set[str] = set()
    for number, scripted in enumerate(steps, start=1):
        for members in (scripted.step, scripted.expect):
            used = set(filter(_is_variable, vars(members).values()))
            if used - saved:
                raise ScenarioError(
                    f"step {number} uses {used - saved}, which nothing saved before"
                )
        saved |= {f"${name}" for name in scripted.save}
