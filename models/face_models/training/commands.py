"""What the commands of `face-models` do; cli.py reads their options.

Each imports what it needs when it runs: torch takes seconds, and few commands need it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from face_models.training.evaluation.harness import Request
    from face_models.training.lab.bench import Bench


def prepare(options: argparse.Namespace) -> None:
    from face_models.training import data, heatmaps
    from face_models.training.train import load_run

    cache_dir = options.runs / "cache"
    print(data.prepare(options.data, cache_dir))
    if options.heatmaps:
        base = load_run(options.runs / options.heatmaps).explained()
        for split in ("train", "val"):
            faces = data.load(options.data, cache_dir, split)
            print(split, heatmaps.precompute(base, faces, cache_dir).shape)


def import_own_photos(options: argparse.Namespace) -> None:
    from face_models.pipeline import Pipeline
    from face_models.training.own_photos import NoPeople, import_photos

    try:
        found = import_photos(options.photos, options.data, Pipeline.load(options.weights))
    except (NoPeople, OSError) as error:
        raise SystemExit(f"face-models import: {error}") from error
    for photo, reason in found.refused.items():
        print(f"refused: {photo} ({reason})")
    print(f"{found.faces} faces of {found.people} people; {len(found.refused)} photos refused")


def train(options: argparse.Namespace) -> None:
    from face_models.training.config import read_config
    from face_models.training.train import Pace, train

    name = read_config(options.config).name
    seed: int | None = options.seed
    run_dir = options.runs / (name if seed is None else f"{name}-{seed}")
    trained = train(
        options.config,
        options.data,
        run_dir,
        Pace(options.threads, options.processes, options.compile, options.bfloat16),
        seed=seed,
    )
    print(trained)


def history(options: argparse.Namespace) -> None:
    from face_models.training import history
    from face_models.training.evaluation import report
    from face_models.training.provenance import provenance

    runs = [history.read_run(options.runs / name) for name in options.names]
    print(history.table(runs))
    source = asdict(provenance("logs of the named runs; figures on the validation identities"))
    report.write_document({**history.document(runs), "provenance": source}, options.json)
    if options.markdown:
        options.markdown.write_text(history.table(runs))
    if options.plot:
        history.draw(runs, options.plot)


def channel(options: argparse.Namespace) -> None:
    from face_models.training import data
    from face_models.training.channel import paired, report, runs
    from face_models.training.evaluation import report as documents
    from face_models.training.evaluation.bootstrap import Resampling
    from face_models.training.provenance import provenance

    try:
        found = runs.read_runs(options.runs, options.names, options.controls)
    except runs.NotComparable as error:
        raise SystemExit(f"face-models channel: {error}") from error
    identity = data.load(options.data, options.runs / "cache", "val").identity
    resampling = Resampling(options.replicates, options.seed)
    comparison = paired.compare(found, identity, options.controls, resampling)
    source = provenance("validation identities of the training set", options.seed)
    document = report.document(found, comparison, resampling, source)
    documents.write_document(document, options.json)
    told = report.markdown(document)
    options.json.with_suffix(".md").write_text(told, encoding="utf-8")
    report.draw(document, options.json.with_suffix(".png"))
    print(told)


def export(options: argparse.Namespace) -> None:
    from face_models.training import publish
    from face_models.training.evaluation import report
    from face_models.training.provenance import provenance

    if options.base_of:
        print(publish.export_base(options.runs / options.base_of, options.weights))
        return
    if options.from_checkpoints:
        trained = publish.load_checkpoints(options.checkpoints)
    else:
        trained = publish.keep_checkpoints(options.runs, options.checkpoints)
    differences = publish.export_networks(trained, options.weights)
    validation = publish.calibrate(options.weights, options.data, options.runs / "cache")
    source = provenance("validation identities of the training set")
    report.write_document(report.validation_document(validation, differences, source), options.json)
    for name, figures in validation.models.items():
        print(f"{name:8} validation AUC {figures.auc:.4f}  EER {figures.eer:.4f}")


def calibrate(options: argparse.Namespace) -> None:
    from face_models.training.calibrating import plot as calibration_plot
    from face_models.training.calibrating import report as calibration_report
    from face_models.training.evaluation import report
    from face_models.training.provenance import provenance

    folders = calibration_report.Folders(
        options.weights, options.data, options.runs / "cache", options.people
    )
    found, fits = calibration_report.calibrate(folders, options.threads)
    searched = f" and {options.people.parent.name}" if options.people else ""
    source = provenance(f"Validation families of the training set{searched}", seed=0)
    document = {**found, "provenance": asdict(source)}
    report.write_document(document, options.report)
    told = calibration_report.markdown(document)
    options.report.with_suffix(".md").write_text(told, encoding="utf-8")
    calibration_plot.draw(fits, document, "heatmap", options.report.with_suffix(".png"))
    print(told)


def evaluate(options: argparse.Namespace) -> None:
    from face_models.training.evaluation import harness, report, tables
    from face_models.training.evaluation.protocol import UnusableInput
    from face_models.training.provenance import provenance

    try:
        evaluation = harness.evaluate(_evaluation_request(options))
    except UnusableInput as error:
        raise SystemExit(f"face-models evaluate: {error}") from error
    source = provenance(evaluation.data, options.seed)
    document = report.evaluation_document(evaluation, source)
    told = tables.markdown(document)
    print(told)
    if options.json:
        report.write_document(document, options.json)
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(told, encoding="utf-8")
    if options.plot:
        report.draw(evaluation, options.plot, options.plot_format)


def _evaluation_request(options: argparse.Namespace) -> Request:
    from face_models.training.evaluation.bootstrap import Resampling
    from face_models.training.evaluation.harness import Request
    from face_models.training.evaluation.templates import NETWORKS, ways

    networks = NETWORKS if options.model == "both" else (options.model,)
    return Request(
        ways=ways(
            networks if options.descriptor != "heatmap" else (),
            flip=options.flip,
            maps=options.descriptor != "embedding",
        ),
        pairs=options.pairs,
        images=options.images,
        gallery=options.gallery,
        validation=options.validation,
        data=options.data,
        decoded=options.runs / "cache",
        weights=options.weights,
        landmarks=options.landmarks,
        cache=options.cache,
        threads=options.threads,
        resampling=Resampling(options.replicates, options.seed),
    )


def quality(options: argparse.Namespace) -> None:
    from face_models.training.quality import report as quality_report

    told = ("weights", "model", "fit", "limit", "seed", "pairs", "images", "threads", "data")
    request = quality_report.Request(
        decoded=options.runs / "cache", **{name: getattr(options, name) for name in told}
    )
    quality_report.write(
        quality_report.report(request), options.json, options.markdown, options.plot
    )


def robustness(options: argparse.Namespace) -> None:
    from face_models.training.evaluation.protocol import UnusableInput
    from face_models.training.robustness import report as robustness_report

    told = ("weights", "model", "limit", "seed", "pairs", "images", "landmarks", "threads", "data")
    try:
        request = robustness_report.Request(
            decoded=options.runs / "cache",
            whole_pipeline=options.whole_pipeline,
            compare=dict(robustness_report.named_folder(one) for one in options.compare),
            **{name: getattr(options, name) for name in told},
        )
        document = robustness_report.report(request)
    except UnusableInput as error:
        raise SystemExit(f"face-models robustness: {error}") from error
    robustness_report.write(document, options.json, options.markdown, options.plot)


def train_restored(options: argparse.Namespace) -> None:
    from face_models.training.restored.train import train

    print(train(options.config, options.data, options.runs, options.threads))


def export_restored(options: argparse.Namespace) -> None:
    from face_models.training.restored.export import export

    for name, difference in export(options.runs, options.weights, options.age).items():
        print(f"{name}.onnx: within {difference:.1e} of torch")


def evaluate_restored(options: argparse.Namespace) -> None:
    from face_models.training.evaluation import report as documents
    from face_models.training.evaluation.bootstrap import Resampling
    from face_models.training.restored import evaluate, pictures, report
    from face_models.training.restored.request import PARTS, Request
    from face_models.training.restored.trained import load_restoration

    request = Request(
        data=options.data,
        runs=options.runs,
        weights=options.weights,
        probes_each=options.probes,
        resampling=Resampling(options.replicates, options.seed),
        threads=options.threads,
    )
    parts = PARTS if options.part == "both" else (options.part,)
    document = evaluate.merged(evaluate.evaluate(request, parts), options.report)
    documents.write_document(document, options.report)
    told = report.markdown(document)
    options.report.with_suffix(".md").write_text(told, encoding="utf-8")
    picture = options.report.with_suffix(".png")
    pictures.draw(document, options.people, load_restoration(options.runs), picture)
    print(told)


def train_detector(options: argparse.Namespace) -> None:
    from face_models.training.detector.train import train

    print(train(options.config, options.data, options.runs / "detector", options.threads))


def export_detector(options: argparse.Namespace) -> None:
    from face_models.spec import write_specs
    from face_models.training.detector.export import export, landmarks_of
    from face_models.training.provenance import provenance

    print(export(options.checkpoint, options.weights / "detector.onnx"))
    source = asdict(provenance("detect/photos.parquet and train/: their `train` splits"))
    trained = (
        ("detector", "landmarks") if landmarks_of(options.checkpoint).exists() else ("detector",)
    )
    write_specs(options.weights, dict.fromkeys(trained, source))


def evaluate_detector(options: argparse.Namespace) -> None:
    from face_models.training.detector import tables
    from face_models.training.detector.evaluate import evaluate
    from face_models.training.evaluation import report
    from face_models.training.provenance import provenance

    figures = evaluate(
        options.weights / "detector.onnx", options.data, options.split, options.second_landmarks
    )
    document = {**asdict(figures), "provenance": asdict(provenance(f"{options.split} photos"))}
    print("\n".join(tables.lines_of(figures)))
    if options.json:
        report.write_document(document, options.json)
    if options.markdown:
        tables.write_markdown(figures, options.markdown)
    if options.plot:
        tables.draw_recall(figures, options.plot)


def compress(options: argparse.Namespace) -> None:
    import torch

    from face_models.training.compression import report, study
    from face_models.training.compression.trial import TrialSettings
    from face_models.training.evaluation import report as documents

    torch.set_num_threads(options.threads)
    folders = study.Folders(
        out=options.out,
        weights=options.weights,
        checkpoints=options.checkpoints,
        data=options.data,
        decoded=options.runs / "cache",
    )
    parts = {}
    if options.part != "pruning":
        photos = study.Photos(options.pairs, options.images) if options.pairs else None
        parts["edge"] = study.export_and_judge(folders, photos)
    if options.part != "edge":
        seeds = tuple(range(1, options.seeds + 1))
        settings = TrialSettings(seeds=seeds, steps=options.steps)
        parts["pruning"] = study.prune_and_compare(folders, settings)
    document = report.merge(parts, options.json)
    documents.write_document(document, options.json)
    told = report.markdown(document)
    options.json.with_suffix(".md").write_text(told, encoding="utf-8")
    report.draw(document, options.json.with_suffix(".png"))
    print(told)


def run_lab(options: argparse.Namespace) -> None:
    from face_models.cli import REPORTS_DIR
    from face_models.training.evaluation.protocol import UnusableInput
    from face_models.training.lab import report
    from face_models.training.lab.run import run

    try:
        bench = _lab_bench(options)
        folder = options.report or REPORTS_DIR / "lab" / bench.config.name
        print(report.write(run(bench, options.people, folder), folder))
    except UnusableInput as error:
        raise SystemExit(f"face-models lab: {error}") from error


def keep_lab_start(options: argparse.Namespace) -> None:
    from face_models.training import starts
    from face_models.training.train import load_run

    print(starts.keep(load_run(options.runs / options.run), options.checkpoints))


def plan_lab(options: argparse.Namespace) -> None:
    from face_models.training.evaluation.protocol import UnusableInput
    from face_models.training.lab.plan import plan

    try:
        print(plan(_lab_bench(options)))
    except UnusableInput as error:
        raise SystemExit(f"face-models lab: {error}") from error


def _lab_bench(options: argparse.Namespace) -> Bench:
    from face_models.training.lab.bench import Bench, Folders
    from face_models.training.lab.settings import read_config

    return Bench(read_config(options.config), Folders(options.data, options.runs), options.threads)
