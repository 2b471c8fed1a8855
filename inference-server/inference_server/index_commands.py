"""`inference-server index …`: what is searched, built, verified and switched beside servers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from inference_server.gallery import MODELS, Counts, ModelStamp
from inference_server.gallery.agreement_report import compare_index, compare_networks
from inference_server.gallery.index_audit import Audit, Findings
from inference_server.gallery.ledger import Page, SqlLedger
from inference_server.gallery.milvus_connection import check_index_url
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import KINDS
from inference_server.gallery.retirement import retire, retiring
from inference_server.gallery.store import SqlStore
from inference_server.gallery.switches import NothingToSwitchBack, SqlSwitches
from inference_server.indexes import milvus_index
from inference_server.settings import Settings, SettingsError

PROBES: Final = 100
DIGEST_CHARS: Final = 12
FOUND_DIFFERENCES: Final = 1


def add_index_commands(commands: Any) -> None:  # noqa: ANN401 - argparse's class is private
    index = commands.add_parser("index", help="build, verify or switch what searches are made in")
    actions = index.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="bring Milvus up to date; broken off, it goes on")
    build.set_defaults(command=_build)
    verify = actions.add_parser("verify", help="hold Milvus against the database, row by row")
    verify.add_argument("--repair", action="store_true", help="mend what is found")
    verify.add_argument("--probes", type=int, default=PROBES, help="faces to search with")
    verify.set_defaults(command=_verify)
    for action in (build, verify):
        action.add_argument("--weights", type=Path, help="of SHADOW_WEIGHTS_DIR or WEIGHTS_DIR")
    switch = actions.add_parser("switch", help="let the networks of SHADOW_WEIGHTS_DIR answer")
    which = switch.add_mutually_exclusive_group()
    which.add_argument("--back", action="store_true", help="undo the latest switch")
    which.add_argument("--incomplete", action="store_true", help="though faces are not found then")
    switch.set_defaults(command=_switch)
    retired = actions.add_parser("retire", help="delete vectors of networks that nobody loads")
    retired.set_defaults(command=_retire)


@dataclass(frozen=True, slots=True)
class Workbench:
    settings: Settings
    store: SqlStore

    def stamp_of(self, weights: Path) -> ModelStamp:
        """Of a folder's networks, as the server of these settings uses them."""
        from face_models.pipeline import Pipeline
        from inference_server.app import demands_of
        from inference_server.face_pipeline import stamp_of

        return stamp_of(Pipeline.load(weights, settings=demands_of(self.settings)))

    def chosen_stamp(self, weights: Path | None) -> ModelStamp:
        settings = self.settings
        return self.stamp_of(weights or settings.shadow_weights_dir or settings.weights_dir)

    @contextmanager
    def index(self, stamp: ModelStamp, kind: str | None = None) -> Iterator[MilvusIndex]:
        """`kind`: another than INDEX_KIND."""
        if not self.settings.index_url:
            raise SettingsError("INDEX_URL names no Milvus; exact search in process builds itself.")
        try:
            check_index_url(self.settings.index_url)
        except ValueError as error:
            raise SettingsError(f"INDEX_URL: {error}.") from error
        settings = replace(self.settings, index_kind=kind or self.settings.index_kind)
        index = milvus_index(settings, self.store, stamp)
        try:
            yield index
        finally:
            index.faces.close()


@contextmanager
def _workbench() -> Iterator[Workbench]:
    settings = Settings.from_mapping(os.environ)
    store = SqlStore(settings.database_url)
    try:
        yield Workbench(settings, store)
    finally:
        store.close()


def _build(options: argparse.Namespace) -> None:
    with _workbench() as bench:
        stamp = bench.chosen_stamp(options.weights)
        with bench.index(stamp) as index:
            counts = _follow(bench, index)
        print(f"{index.faces.name}: {counts.faces} faces of {counts.persons} persons.")
        _tell_outdated(bench, stamp)


def _verify(options: argparse.Namespace) -> None:
    with _workbench() as bench:
        stamp = bench.chosen_stamp(options.weights)
        with bench.index(stamp) as index:
            if options.repair:
                _follow(bench, index)
            findings = _audit(bench, index, repair=options.repair)
            if not (findings.is_clean or options.repair):
                raise SystemExit(FOUND_DIFFERENCES)
            for line in _report(bench, index, options.probes):
                print(line)
        _tell_outdated(bench, stamp)


def _switch(options: argparse.Namespace) -> None:
    with _workbench() as bench:
        switches = SqlSwitches(bench.store)
        try:
            made = switches.switch_back() if options.back else None
        except NothingToSwitchBack as error:
            raise SettingsError(str(error)) from error
        if made is None:
            to = _ready_shadow(bench, incomplete=options.incomplete)
            made = switches.switch(to, standing=bench.stamp_of(bench.settings.weights_dir))
    print(
        f"From the next request on {_short(made.to)} answers, and no longer {_short(made.before)}."
    )


def _retire(_: argparse.Namespace) -> None:
    """All but those of WEIGHTS_DIR, of SHADOW_WEIGHTS_DIR and of the latest switch are.

    Milvus comes first: broken off, the database still names what is to go.
    """
    with _workbench() as bench:
        folders = (bench.settings.weights_dir, bench.settings.shadow_weights_dir)
        loaded = {bench.stamp_of(folder) for folder in folders if folder is not None}
        active = SqlSwitches(bench.store).active()
        kept = loaded | ({active} if active else set())
        if bench.settings.index_url:
            for stamp, kind in product(retiring(bench.store, kept), KINDS):
                with bench.index(stamp, kind) as index:
                    index.faces.drop()
        for stamp in retire(bench.store, kept):
            print(f"No longer kept: {_short(stamp)}.")


def _ready_shadow(bench: Workbench, *, incomplete: bool) -> ModelStamp:
    """Every face has its vectors and the index holds them: the first search waits for nothing."""
    weights = bench.settings.shadow_weights_dir
    if weights is None:
        raise SettingsError("SHADOW_WEIGHTS_DIR names no networks to switch to.")
    stamp = bench.stamp_of(weights)
    outdated = bench.store.count_outdated(stamp)
    if outdated and not incomplete:
        raise SettingsError(
            f"SHADOW_WEIGHTS_DIR: {outdated} faces have no vectors by these networks, and no "
            "search would find them. Run `gateway-server reenrol`, or switch --incomplete."
        )
    if bench.settings.index_url:
        with bench.index(stamp) as index:
            _follow(bench, index)
    return stamp


def _follow(bench: Workbench, index: MilvusIndex) -> Counts:
    """With a bar over the gallery's versions."""
    from tqdm import tqdm

    done = index.faces.position().version
    with tqdm(total=bench.store.version(), initial=done, unit=" changes", desc="build") as bar:

        def show(page: Page) -> None:
            bar.update(page.moment.version - bar.n)

        return index.follow(show)


def _audit(bench: Workbench, index: MilvusIndex, *, repair: bool) -> Findings:
    from tqdm import tqdm

    with tqdm(unit=" faces", desc="verify") as bar:
        audit = Audit(SqlLedger(bench.store), index.stamp, index.faces)
        findings = audit.run(repair=repair, on_faces=bar.update)
    print(
        f"{index.faces.name}: {findings.compared} faces compared, {findings.missing} missing, "
        f"{findings.differing} differing, {findings.surplus} surplus, {findings.behind} changes "
        f"behind{'; mended' if repair and not findings.is_clean else ''}."
    )
    return findings


def _report(bench: Workbench, index: MilvusIndex, probes: int) -> Iterator[str]:
    ledger, standing = SqlLedger(bench.store), bench.stamp_of(bench.settings.weights_dir)
    for model in MODELS:
        yield compare_index(ledger, index, model, probes)
        if index.stamp != standing:
            yield compare_networks(ledger, standing, index.stamp, model, probes)


def _tell_outdated(bench: Workbench, stamp: ModelStamp) -> None:
    if outdated := bench.store.count_outdated(stamp):
        print(f"{outdated} faces have no vectors by these networks: `gateway-server reenrol`.")


def _short(stamp: ModelStamp) -> str:
    return f"(base {stamp.base[:DIGEST_CHARS]}, heatmap {stamp.heatmap[:DIGEST_CHARS]})"
