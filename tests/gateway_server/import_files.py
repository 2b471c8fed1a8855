"""Tables and archives as an operator would send them, and what becomes of them."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.gateway_server.conftest import until


def make_table(rows: Sequence[Mapping[str, str]], columns: Sequence[str] = ()) -> bytes:
    """`columns`: those of the first row, unless they are said."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def make_archive(photos: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, photo in photos.items():
            archive.writestr(name, photo)
    return data.getvalue()


async def post_import(
    client: httpx.AsyncClient, table: bytes, archive: bytes, **headers: str
) -> httpx.Response:
    files = {"table": ("people.csv", table), "archive": ("photos.zip", archive)}
    return await client.post("/v1/imports", files=files, headers=headers)


async def ended(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """The import when it has come to its end."""

    async def look() -> dict[str, Any] | None:
        run: dict[str, Any] = (await client.get(address)).json()
        return run if run["status"] in {"done", "failed"} else None

    found = await until(look)
    assert found is not None
    return found


async def import_all(
    client: httpx.AsyncClient, table: bytes, photos: Mapping[str, bytes] | bytes
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The ended import, and its rows."""
    archive = photos if isinstance(photos, bytes) else make_archive(photos)
    answer = await post_import(client, table, archive)
    assert answer.status_code == 202, answer.text
    address = answer.headers["location"]
    run = await ended(client, address)
    return run, (await client.get(f"{address}/rows", params={"limit": 200})).json()["rows"]


def reason(row: Mapping[str, Any]) -> str | None:
    """The slug of the problem that refused the row."""
    return row["problem"] and row["problem"]["type"].rpartition(":")[2]
