"""An answer as people read it."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mobile_client_mock.answers import Candidate, Person, RefusedPhoto, Search
from mobile_client_mock.scenario import Report, StepReport

BAR_CELLS = 14
VERDICTS = {
    "lead": ("a lead: the first candidate is worth a look by a person", "bold green"),
    "no_credible_lead": ("no credible lead: nobody here is similar enough", "bold yellow"),
}
WAITING = {
    "queued": "queued: the gateway has the photo and waits for a free network",
    "running": "running: a network is looking at the photo",
}


def show_search(search: Search) -> RenderableType:
    if search.is_unfinished:
        return show_waiting(search)
    return Group(_headline(search), _table(search), *_notes(search))


def show_waiting(search: Search) -> Text:
    return Text(f"{WAITING[search.status]} · search {search.id}", "yellow")


def show_person(person: Person) -> RenderableType:
    registered = not person.faces and person.pending
    became = "registered" if registered else f"enrolled with {_count(person.faces, 'face')}"
    lines = [Text(f"{person.name} is {became}: {person.id}")]
    if person.pending:
        waiting = f"{_count(person.pending, 'photo')} pending: the gateway enrols them later"
        lines.append(Text(waiting, "yellow"))
    lines += [Text(f"{_which(one)}: {one.reason}", "yellow") for one in person.refused]
    return Group(*lines)


def _which(photo: RefusedPhoto) -> str:
    return "a refused photo" if photo.index is None else f"photo {photo.index + 1}"


def show_expectation(candidate: Candidate) -> str:
    """Two figures while few are expected; nobody needs more."""
    expected = candidate.expected_false_matches
    return f"{expected:.2g}" if expected < 10 else f"{expected:.0f}"


def show_confidence(candidate: Candidate) -> str:
    """Never a round 100 %: nobody is certain."""
    return f"{candidate.confidence:.1%}" if candidate.confidence < 0.9995 else ">99.9%"


def show_report(report: Report) -> RenderableType:
    unmet = sum(not step.is_met for step in report.steps)
    title = f"{report.name}: {_count(unmet, 'step') + ' unmet' if unmet else 'as expected'}"
    table = Table(title=Text(title, "bold red" if unmet else "bold green"), title_justify="left")
    for heading in ("step", "what", "answer", "found", "s", "request"):
        table.add_column(heading, overflow="fold")
    for number, step in enumerate(report.steps, start=1):
        table.add_row(str(number), step.title, *_step_row(step))
    return table


def _step_row(step: StepReport) -> tuple[RenderableType, ...]:
    found = Text("\n".join(step.unmet), "red") if step.unmet else Text("as expected", "green")
    answer = f"{step.status or '-'} {step.problem or step.state or ''}".rstrip()
    return (answer, found, f"{step.duration_s:.2f}", step.request_id)


def _headline(search: Search) -> Text:
    words, style = VERDICTS.get(search.verdict or "", (f"verdict: {search.verdict}", "bold"))
    return Text(words[0].upper() + words[1:], style)


def _table(search: Search) -> Table:
    table = Table(caption=_caption(search), caption_justify="left")
    table.add_column("#", justify="right")
    table.add_column("person", overflow="fold")
    table.add_column("similarity", justify="right", no_wrap=True)
    table.add_column("0 to 1", width=BAR_CELLS)
    table.add_column("confidence", justify="right", no_wrap=True)
    table.add_column("false matches\nexpected", justify="right", no_wrap=True)
    for candidate in search.candidates:
        table.add_row(*_row(candidate))
    return table


def _row(candidate: Candidate) -> tuple[RenderableType, ...]:
    return (
        str(candidate.rank),
        Text(candidate.name or "(deleted since)"),  # a name is text, never markup
        f"{candidate.similarity:.3f}",
        ProgressBar(total=1, completed=max(0, candidate.similarity), width=BAR_CELLS),
        show_confidence(candidate),
        show_expectation(candidate),
    )


def _caption(search: Search) -> str:
    origin = "from the cache" if search.cached else f"{search.total_ms:.0f} ms"
    return f"among {_count(search.persons, 'person')} · {origin} · search {search.id}"


def _notes(search: Search) -> list[Text]:
    notes = [Text(f"note: {warning.replace('_', ' ')}", "yellow") for warning in search.warnings]
    if search.faces_in_photo > 1:
        which = f"face {search.face} of {search.faces_in_photo} (from 0); --face takes another"
        notes.append(Text(f"searched for {which}", "yellow"))
    return notes


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
