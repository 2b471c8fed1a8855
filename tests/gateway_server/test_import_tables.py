"""What a table may hold: anything. A bad record is that record's fault; a bad table is refused."""

import tracemalloc

import pytest

from gateway_server.imports.table import count_records, read_table
from gateway_server.problems import InvalidTable, TooManyRows

HEADER = "name,reference,photo\n"


@pytest.fixture
def records(tmp_path):
    def read(data: bytes | str, most: int = 1000):
        path = tmp_path / "people.csv"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return list(read_table(path, most))

    return read


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_is_read_as_spreadsheets_write_it(records, encoding, newline, delimiter):
    text = f"{HEADER}Zoë,17,a.jpg\n".replace(",", delimiter).replace("\n", newline)

    (record,) = records(text.encode(encoding))

    assert (record.number, record.problem) == (2, None)
    assert record.texts == {"name": "Zoë", "reference": "17", "photo": "a.jpg"}


def test_columns_come_in_any_order_and_case_and_blank_rows_are_none(records):
    found = records(' Photo ,NAME\n\na.jpg,Ada\n,\n"b.jpg","Bob, the\nBuilder"\n')

    assert [(one.number, one.texts["name"]) for one in found] == [
        (3, "Ada"),
        (5, "Bob, the\nBuilder"),
    ]


def test_what_looks_like_a_formula_is_a_text(records):
    texts = ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2", "\t=1"]
    found = records(HEADER + "".join(f'"{text}",,a.jpg\n' for text in texts))

    assert [one.texts["name"] for one in found] == texts


BAD_RECORDS = {
    "too few cells": "Bob,a.jpg",
    "too many cells": "Bob,17,a.jpg,more",
    "a thousand cells": "Bob," + "x," * 1000,
    "a quote within": 'B"o"b,"17"x,a.jpg',
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_bad_record_is_refused_and_stops_no_other(records, case):
    found = records(f"{HEADER}Ada,1,a.jpg\n{BAD_RECORDS[case]}\nEve,3,c.jpg\n")

    assert [one.problem and one.problem.slug for one in found] == [None, "invalid-row", None]


def test_a_quote_that_is_never_closed_is_a_refused_record(records):
    found = records(f'{HEADER}Ada,1,a.jpg\n"Bob,2,b.jpg\nEve,3,c.jpg\n')

    assert [one.problem and one.problem.slug for one in found] == [None, "invalid-row"]


BAD_TABLES = {
    "nothing": b"",
    "UTF-16": HEADER.encode("utf-16"),
    "Latin-1": HEADER.encode() + "Zoë,17,a.jpg\n".encode("latin-1"),
    "a photo": b"\xff\xd8\xff\xe0" + bytes(1000),
    "no photo column": b"name,reference\nAda,17\n",
    "no name column": b"photo\na.jpg\n",
    "an unknown column": b"name,photo,password\n",
    "a column twice": b"name,photo,name\n",
    "no header": b"Ada,17,a.jpg\n",
    "an endless header": b"name," * 10_000,
    "an endless line": HEADER.encode() + b"x" * 300_000 + b"\n",
    "an endless record": HEADER.encode() + b'"a\n",' * 90_000 + b"\n",
    "an endless field": HEADER.encode() + b'"' + b"x\n" * 150_000 + b'",17,a.jpg\n',
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_table_whose_records_cannot_be_told_apart_is_refused(records, case):
    if case == "an endless field":  # ends at the reader's own limit: a refused record
        assert records(BAD_TABLES[case], most=10**6)[0].problem is not None
        return
    with pytest.raises(InvalidTable):
        records(BAD_TABLES[case])


def test_a_nul_is_for_the_record_to_be_refused_for(records):
    (record,) = records(f"{HEADER}A\0da,17,a.jpg\n")

    assert record.texts["name"] == "A\0da"


def test_more_rows_than_allowed_are_refused(records):
    assert len(records(HEADER + "Ada,1,a\n" * 3, most=3)) == 3
    with pytest.raises(TooManyRows):
        records(HEADER + "Ada,1,a\n" * 4, most=3)


def test_a_hundred_thousand_rows_are_never_in_memory_together(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(HEADER + f"Ada,17,{'x' * 100}.jpg\n" * 100_000)
    tracemalloc.start()

    assert count_records(path, 100_000) == 100_000

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
