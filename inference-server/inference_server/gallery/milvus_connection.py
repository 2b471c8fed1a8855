"""The connection to Milvus: opened at its first use, every call with its timeout, errors ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from inference_server.gallery import StoreUnavailable

if TYPE_CHECKING:
    from pymilvus import MilvusClient

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 10
WRITE_TIMEOUT_S: Final = 60
LITE_SUFFIX: Final = ".db"


def check_index_url(url: str) -> None:
    """Nothing is connected.

    Raises:
        ValueError: neither a cluster's address nor a file for Milvus Lite, or the extra is missing.
    """
    if urlsplit(url).scheme not in ("http", "https") and not is_lite(url):
        raise ValueError(f"{url!r} is neither http(s)://host:port nor a path that ends in .db")
    wanted = {"milvus": "pymilvus", **({"milvus-lite": "milvus_lite"} if is_lite(url) else {})}
    for extra, package in wanted.items():
        if find_spec(package) is None:
            raise ValueError(f"it needs {package}, the extra `{extra}` of this distribution")


def is_lite(url: str) -> bool:
    """Milvus Lite keeps everything in one folder that one process at a time may open."""
    return "://" not in url and url.endswith(LITE_SUFFIX)


class MilvusConnection:
    """One client, shared by threads; a server may start before Milvus does.

    `url`: `http://user:password@host:19530/database`, or a path that ends in .db.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: MilvusClient | None = None
        self._opening = Lock()

    @property
    def client(self) -> MilvusClient:
        """To be used inside `outages_translated`."""
        with self._opening:
            if self._client is None:
                self._client = _open(self._url)
            return self._client

    def close(self) -> None:
        """Frees the folder of Milvus Lite for the next process."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if is_lite(self._url):
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self._url)


@contextmanager
def outages_translated() -> Iterator[None]:
    """Whatever Milvus or the network raises becomes StoreUnavailable."""
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, RpcError, OSError) as error:
        raise StoreUnavailable("The gallery's vector index does not answer.") from error


def _open(url: str) -> MilvusClient:
    from pymilvus import MilvusClient

    log = logging.getLogger("pymilvus")  # its own handler would break the journal's JSON, and
    log.handlers.clear()  # what it complains of is raised, too
    log.setLevel(logging.CRITICAL)
    if is_lite(url):
        Path(url).parent.mkdir(parents=True, exist_ok=True)
    return MilvusClient(url, timeout=CONNECT_TIMEOUT_S)
