"""`inference-server enrol SOURCE`: settings and arguments become one run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Final

from face_models.spec import WEIGHTS_DIR
from inference_server.app import demands_of
from inference_server.bulk import Executor
from inference_server.bulk.pool import ProcessPool
from inference_server.bulk.progress import Progress, Report
from inference_server.bulk.ray_cluster import RayCluster
from inference_server.bulk.run import BulkEnrolment
from inference_server.bulk.sources import open_source
from inference_server.bulk.worker import LoadPipeline, LoadShipped
from inference_server.face_pipeline import stamp_of
from inference_server.gallery import ModelStamp
from inference_server.gallery.store import SqlStore
from inference_server.gallery.switches import SqlSwitches
from inference_server.settings import Settings, SettingsError

SOME_REFUSED: Final = 1
INTERRUPTED: Final = 130  # what a shell makes of Ctrl-C


def enrol(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """The exit status: 1 unless every photo is enrolled, or was before.

    Raises:
        SettingsError, WeightsError, BulkError, StoreUnavailable
    """
    settings = Settings.without_token(environment)
    if settings.shadow_weights_dir is not None:
        raise SettingsError(
            "SHADOW_WEIGHTS_DIR: bulk enrolment embeds with the networks of WEIGHTS_DIR alone. "
            "Unset it here; `gateway-server reenrol` then adds what the others are to have."
        )
    weights_dir = None if settings.weights_dir == WEIGHTS_DIR else settings.weights_dir.resolve()
    return run(asked, settings, LoadShipped(weights_dir, demands_of(settings)))


def run(asked: argparse.Namespace, settings: Settings, load: LoadPipeline) -> int:
    source = open_source(asked.source, settings.max_photo_bytes)
    stamp = stamp_of(load())
    with closing(_report(asked.report)) as report, closing(_store(settings)) as store:
        _refuse_what_no_search_finds(store, stamp)
        progress = Progress(source.count(), report)
        try:
            with _executor(asked, load) as executor:
                enrolment = BulkEnrolment(
                    store, executor, stamp, progress, bring_back=asked.bring_back
                )
                enrolment.run(source)
        except KeyboardInterrupt:
            print("\nBroken off; the same command goes on.", file=sys.stderr)
            return INTERRUPTED
        finally:
            progress.finish()
            print(progress.summary())
    return SOME_REFUSED if progress.reasons else 0


def _refuse_what_no_search_finds(store: SqlStore, stamp: ModelStamp) -> None:
    active = SqlSwitches(store).active()
    if active not in {None, stamp}:
        raise SettingsError(
            "WEIGHTS_DIR: `inference-server index switch` has let other networks answer. "
            "Name theirs, or what is enrolled is found by no search."
        )


def _executor(asked: argparse.Namespace, load: LoadPipeline) -> AbstractContextManager[Executor]:
    if asked.ray is not None:
        return RayCluster(load, asked.ray)
    return ProcessPool(load, asked.processes or _cores())


def _store(settings: Settings) -> SqlStore:
    try:
        return SqlStore(settings.database_url)
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL: {error}.") from error


def _cores() -> int:
    """Those that this process may use; not every system tells."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _report(path: Path | None) -> Report:
    try:
        return Report(path)
    except OSError as error:
        raise SettingsError(f"--report {path}: {error.strerror}.") from error
