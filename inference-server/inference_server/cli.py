"""`inference-server`: run the server, fill its gallery, look after its index, list its settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from face_models.calibration import Calibration
from face_models.errors import WeightsError
from face_models.spec import load_specs
from inference_server.bulk import BulkError
from inference_server.gallery import StoreUnavailable
from inference_server.gallery.database import open_database
from inference_server.gallery.milvus_connection import check_index_url
from inference_server.index_commands import add_index_commands
from inference_server.settings import Settings, SettingsError

UNUSABLE = 2
OTHERS_NOTHING = 0o077  # biometric references and the journal: files for this user alone


def main(arguments: Sequence[str] | None = None) -> None:
    os.umask(OTHERS_NOTHING)
    options = build_parser().parse_args(arguments)
    try:
        status = options.command(options)
    except (SettingsError, WeightsError, BulkError, StoreUnavailable) as error:
        print(f"inference-server: {error}", file=sys.stderr)
        raise SystemExit(UNUSABLE) from error
    if status:
        raise SystemExit(status)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inference-server", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run until SIGTERM or SIGINT")
    serve.set_defaults(command=_serve)
    enrol = commands.add_parser("enrol", help="enrol a folder, archive or manifest of photos")
    enrol.add_argument("source", type=Path, help="folder of folders, ZIP or TAR of it, or a *.csv")
    enrol.add_argument("--report", type=Path, metavar="FILE", help="refused photos, as CSV")
    enrol.add_argument("--bring-back", action="store_true", help="whoever was deleted, too")
    enrol.add_argument("--processes", type=_at_least_one, help="default: one per core")
    enrol.add_argument(
        "--ray", metavar="ADDRESS", help="on this Ray cluster (host:port, auto, local) instead"
    )
    enrol.set_defaults(command=_enrol)
    add_index_commands(commands)
    settings = commands.add_parser("settings", help="list the environment variables")
    settings.set_defaults(command=_list_settings)
    return parser


def _serve(_: argparse.Namespace) -> None:
    """What can never work is refused here, once, instead of by every worker in turn."""
    from inference_server.serving import Server, serve

    settings = Settings.from_mapping(os.environ)
    _check_database_url(settings.database_url)
    _check_index_url(settings.index_url)
    for folder in (settings.weights_dir, settings.shadow_weights_dir):
        if folder is not None:
            _check_weights(folder)
    serve(Server(settings))


def _enrol(asked: argparse.Namespace) -> int:
    from inference_server.bulk.command import enrol

    return enrol(asked, os.environ)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _check_database_url(url: str) -> None:
    try:
        open_database(url)
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL: {error}.") from error


def _check_index_url(url: str) -> None:
    try:
        if url:
            check_index_url(url)
    except ValueError as error:
        raise SettingsError(f"INDEX_URL: {error}.") from error


def _check_weights(folder: Path) -> None:
    specs = load_specs(folder)
    for graph in (specs.detector, *specs.models.values()):
        graph.path_in(folder)
    Calibration.load(folder)


def _list_settings(_: argparse.Namespace) -> None:
    for row in Settings.rows():
        print(f"{row.name:32} {row.default:30} {row.unit:12} {row.help}")


if __name__ == "__main__":
    main()
