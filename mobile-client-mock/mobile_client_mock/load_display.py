"""A load as people read it: while it runs, and what it has measured."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from mobile_client_mock.load import Progress
from mobile_client_mock.load_report import LoadReport, Plan, Quantiles

SPARKS = "▁▂▃▄▅▆▇█"
MOST_SPARKS = 60  # longer loads are shown in steps of several seconds
STYLES = {"refused": "yellow", "failed": "red", "lost": "bold red"}


@contextmanager
def watching(plan: Plan, console: Console) -> Iterator[Callable[[Progress], None]]:
    """A line that is gone when the load is; nothing where nobody sees it live."""
    columns = (TextColumn("{task.fields[clock]}"), BarColumn(), TextColumn("{task.description}"))
    with Bars(*columns, console=console, transient=True) as bars:
        line = bars.add_task("", total=plan.duration_s, clock="")

        def show(seen: Progress) -> None:
            clock = f"{seen.elapsed_s:.0f} of {plan.duration_s:g} s"
            bars.update(line, completed=seen.elapsed_s, description=_said(seen), clock=clock)

        yield show


def show_load(report: LoadReport) -> RenderableType:
    parts: list[RenderableType] = [_headline(report), _latencies(report)]
    if report.reasons or report.setbacks:
        parts.append(_reasons(report))
    parts.append(Text(f"done per second  {_sparks(report.done_per_s)}"))
    parts += _hints(report)
    return Group(*parts)


def _said(seen: Progress) -> str:
    ended = ", ".join(f"{count} {ending}" for ending, count in sorted(seen.endings.items()))
    waiting = seen.due - seen.under_way - seen.endings.total()
    p95 = "" if seen.p95_s is None else f" · p95 {seen.p95_s:.2f} s"
    return f"{ended or '0 done'} · {seen.under_way} under way, {max(0, waiting)} waiting{p95}"


def _headline(report: LoadReport) -> Text:
    ended = "interrupted" if report.is_interrupted else "ended"
    counts = [f"{report.accepted} accepted", f"{report.count('done')} done"]
    counts += [f"{report.count('refused')} refused", f"{report.count('failed')} failed"]
    counts += [f"{report.count('lost')} lost"]
    if report.unended:
        counts.append(f"{report.unended} not ended")
    offered = f"offered {report.offered_per_s:.2f}/s, achieved {report.achieved_per_s:.2f}/s"
    searches = f"{len(report.due_s)} searches in {report.window_s:.1f} s: {', '.join(counts)}"
    plan = f"{report.plan.phones} phones, seed {report.plan.seed}"
    style = "bold green" if report.is_clean else "bold red"
    return Text(f"Load {ended}: {offered} ({plan})\n{searches}", style)


def _latencies(report: LoadReport) -> Table:
    table = Table(caption="from when each was due, in seconds", caption_justify="left")
    table.add_column("latency")
    for heading in ("searches", "p50", "p95", "p99", "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("accepted, uncached", *_cells(report.accepted_after(cached=False)))
    table.add_row("accepted, cached", *_cells(report.accepted_after(cached=True)))
    table.add_row("finished, uncached", *_cells(report.finished_after(cached=False)))
    table.add_row("finished, cached", *_cells(report.finished_after(cached=True)))
    table.add_row("of it: waiting for a phone", *_cells(report.waited_for_phone))
    return table


def _cells(found: Quantiles | None) -> Sequence[str]:
    if found is None:
        return ("0", "", "", "", "")
    figures = (found.p50_s, found.p95_s, found.p99_s, found.max_s)
    return (str(found.count), *(f"{figure:.3f}" for figure in figures))


def _reasons(report: LoadReport) -> Table:
    table = Table()
    for heading in ("became", "reason", "searches"):
        table.add_column(heading, justify="right" if heading == "searches" else "left")
    for (ending, reason), count in report.reasons.most_common():
        table.add_row(Text(ending, STYLES[ending]), Text(reason), str(count))
    for reason, count in report.setbacks.most_common():
        table.add_row("tried again", Text(reason), str(count))
    return table


def _sparks(per_s: Sequence[int]) -> str:
    step_s = max(1, -(-len(per_s) // MOST_SPARKS))
    sums = [sum(per_s[start : start + step_s]) for start in range(0, len(per_s), step_s)]
    most = max(sums, default=0)
    drawn = "".join(SPARKS[count * (len(SPARKS) - 1) // most] if most else " " for count in sums)
    return f"{drawn}  (at most {most / step_s:.1f})"


def _hints(report: LoadReport) -> Iterator[Text]:
    if report.is_saturated:
        words = (
            "Saturated: the gateway, or this many phones, did not keep up with the offered rate."
        )
        yield Text(words, "yellow")
    if report.count("lost"):
        yield Text("Lost: acknowledged, and neither done nor refused in time.", "bold red")
