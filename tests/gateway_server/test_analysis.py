"""What was searched and judged, as tables and figures: complete, and without names unless asked."""

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow import parquet
from sqlalchemy import func, select, update

from gateway_server import cli
from gateway_server.analysis import export, history, stats, tables
from gateway_server.analysis import parquet as parquet_file
from gateway_server.analysis.figures import gather, spread_of
from gateway_server.analysis.history import History
from gateway_server.analysis.period import Period
from gateway_server.settings import SettingsError
from gateway_server.tables import Audit, Search
from tests.gateway_server.conftest import ONE_ENGINE, RETRIED_SOON, Running, search
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

EVER = Period(None, None)
SECRETS = ("Ada Secret", "=1+1", "REF-17", "CASE-9", "a purpose", "scar")
pytestmark = RETRIED_SOON


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(history, "AT_A_TIME", 2)


@pytest.fixture
async def searched(running: Running, operator, phone, enrol, inference) -> dict:
    """Ada found, Bob not: five searches, one of them cached, one refused; a failure; verdicts."""
    ada = await enrol("Ada Secret", make_photo(1), reference="REF-17", notes="a scar")
    bob = await enrol("=1+1", make_photo(2))
    inference.refuse(make_photo(9), "no-face")
    said = {"case_reference": "CASE-9", "purpose": "a purpose"}
    found = [await search(phone, make_photo(seed), **said) for seed in (1, 1, 3, 4)]
    await search(phone, make_photo(9))
    inference.fail("enrol", internal_error)
    await operator.post(f"/v1/persons/{bob['id']}/faces", files={"photo": ("b.jpg", make_photo(5))})
    inference.recover()
    for made, person, verdict in ((0, ada, "same"), (0, bob, "different"), (2, ada, "unsure")):
        address = f"{found[made].headers['location']}/feedback"
        body = {"person_id": person["id"], "verdict": verdict}
        answer = await phone.post(address, json=body)
        assert answer.status_code < 300, answer.text
    return {"ada": ada, "bob": bob, "found": [one.json() for one in found]}


def database_of(running: Running):
    return running.gateway.queue._database


async def write(running: Running, folder: Path, period: Period = EVER, **how) -> dict[str, int]:
    asked = {"format_name": "csv", "with_names": False, **how}
    return dict(await export.write_tables(History(database_of(running), period), folder, **asked))


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def test_every_table_has_its_lines(running, searched, tmp_path):
    counts = await write(running, tmp_path / "out")

    assert counts == {
        "searches": 5,
        "candidates": 8,
        "verdicts": 3,
        "timings": len(read(tmp_path / "out", "timings")),
        "failures": 1,
    }
    first, cached, *_, refused = read(tmp_path / "out", "searches")
    best = searched["found"][0]["candidates"][0]
    assert (first["id"], first["status"], first["verdict"]) == (
        searched["found"][0]["id"],
        "done",
        "lead",
    )
    assert (first["top_similarity"], first["quality"], first["cached"]) == ("0.9", "78", "false")
    assert (cached["cached"], cached["top_confidence"]) == ("true", str(best["confidence"]))
    assert (refused["status"], refused["problem"], refused["quality"]) == ("failed", "no-face", "")
    judged = {(one["verdict"], one["rank"]) for one in read(tmp_path / "out", "verdicts")}
    assert {("same", "1"), ("different", "2")} < judged
    (failure,) = read(tmp_path / "out", "failures")
    assert (failure["kind"], failure["reason"]) == ("enrolment", "inference-failed")
    stages = {one["stage"] for one in read(tmp_path / "out", "timings")}
    assert stages == {"decode", "detect", "embed", "search", "total"}


async def test_nobody_is_named_unless_asked(running, searched, tmp_path):
    await write(running, tmp_path / "bare")
    await write(running, tmp_path / "named", with_names=True)

    bare = "".join(path.read_text() for path in (tmp_path / "bare").iterdir())
    named = "".join(path.read_text() for path in (tmp_path / "named").iterdir())
    assert [secret for secret in SECRETS if secret in bare] == []
    assert [secret for secret in SECRETS if secret not in named] == []
    assert not (tmp_path / "bare" / "persons.csv").exists()
    persons = {one["id"]: one for one in read(tmp_path / "named", "persons")}
    assert persons[searched["ada"]["id"]]["notes"] == "a scar"


async def test_a_name_that_a_spreadsheet_would_compute_stays_a_text(running, searched, tmp_path):
    await write(running, tmp_path / "out", with_names=True)

    names = {one["name"] for one in read(tmp_path / "out", "persons")}
    assert names == {"Ada Secret", "'=1+1"}


async def test_parquet_says_the_same_with_types(running, searched, tmp_path):
    counts = await write(running, tmp_path / "out", format_name="parquet", with_names=True)

    for table in tables.ALL:
        read_back = parquet.read_table(tmp_path / "out" / f"{table.name}.parquet")
        assert read_back.num_rows == counts[table.name]
        assert read_back.column_names == [one.name for one in table.columns]
    searches = parquet.read_table(tmp_path / "out" / "searches.parquet").to_pylist()
    assert [one["cached"] for one in searches] == [False, True, False, False, False]
    assert searches[0]["created_at"].tzinfo is not None
    assert searches[0]["top_similarity"] == 0.9


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(SettingsError, match="extra `parquet`"):
        parquet_file.ParquetFile(tmp_path, tables.SEARCHES)


async def test_an_older_file_is_not_written_over(running, searched, tmp_path):
    await write(running, tmp_path)

    with pytest.raises(SettingsError, match=r"searches\.csv"):
        await write(running, tmp_path)


async def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(
    running, searched, tmp_path
):
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    ids = [one["id"] for one in searched["found"][:3]]
    async with database_of(running).write() as session:
        for search_id, day in zip(ids, days, strict=True):
            moved = update(Search).where(Search.id == search_id)
            await session.execute(moved.values(created_at=day))

    await write(running, tmp_path, Period(days[0], days[2]))

    assert [one["id"] for one in read(tmp_path, "searches")] == ids[:2]


async def test_searches_of_one_moment_are_all_told_once(running, searched):
    async with database_of(running).write() as session:
        await session.execute(update(Search).values(created_at=datetime(2026, 1, 1, tzinfo=UTC)))

    told = [one async for one in History(database_of(running), EVER).searches()]

    ids = [search.id for one in told for search in one.searches]
    assert len(ids) == len(set(ids)) == 5


async def test_figures_add_up(running, searched):
    figures = await gather(History(database_of(running), EVER), running.gateway.queue)

    told = figures.as_json()
    assert sum(told["searches_by_day"].values()) == 5  # and midnight may pass meanwhile
    assert told["searches_by_status"] == {"done": 4, "failed": 1}
    assert told["searches_failed_by_reason"] == {"no-face": 1}
    assert told["cache_hit_rate"] == 0.25
    assert told["verdicts_by_similarity"][9]["same"] == 1
    judged = [sum(band[one] for one in ("same", "different", "unsure")) for band in figures.bands]
    assert sum(judged) == 3
    assert told["failures_by_reason"] == {"enrolment inference-failed": 1}
    assert told["timings_ms"]["detect"] == {"median": 2.0, "p95": 2.0}
    lines = "\n".join(stats.lines_of(figures))
    assert "answered by the cache: 25.0%" in lines
    assert not [secret for secret in SECRETS if secret in lines + json.dumps(told)]


@pytest.mark.parametrize(
    ("values", "median", "p95"),
    [([7.0], 7.0, 7.0), ([3.0, 1.0, 2.0], 2.0, 3.0), ([float(n) for n in range(100)], 49.0, 94.0)],
)
def test_a_spread_is_of_values_that_were_measured(values, median, p95):
    spread = spread_of(values)

    assert (spread.median, spread.p95) == (median, p95)


@ONE_ENGINE
def test_the_commands_work_on_an_empty_database(database_url, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DATABASE_URL", database_url)
    day = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"

    assert cli.main(["export", "--since", day, "--to", str(tmp_path / "out")]) == 0
    assert cli.main(["stats"]) == 0
    assert "queue: 0 waiting" in capsys.readouterr().out
    assert cli.main(["stats", "--since", day, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cache_hit_rate"] is None
    assert cli.main(["stats", "--since", "yesterday"]) == 1
    assert cli.main(["export", "--since", day, "--to", "/dev/null/out"]) == 1


async def test_an_export_is_in_the_audit(running, searched, environment, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", environment["DATABASE_URL"])
    words = ["export", "--since", "2020-01-01", "--to", str(tmp_path / "out")]

    assert await asyncio.to_thread(cli.main, words) == 0

    async with database_of(running).read() as session:
        told = select(func.count()).select_from(Audit).where(Audit.action == "export")
        assert await session.scalar(told) == 1


async def test_a_search_that_waits_has_no_numbers_yet(running, phone, inference, tmp_path):
    inference.fail("*", internal_error)
    await search(phone, make_photo(1))

    await write(running, tmp_path)

    (line,) = read(tmp_path, "searches")
    assert (line["status"], line["quality"], line["candidates"]) == ("queued", "", "")
