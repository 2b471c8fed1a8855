"""`face-models`: prepare, train, export and evaluate the networks.

Everything but `evaluate` needs the `training` extra; nothing of it is imported before it is asked
for, so that `--help` works on a serving machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from face_models.spec import WEIGHTS_DIR

if TYPE_CHECKING:
    from face_models.training.harness import Request

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - no public name

PROJECT_DIR = Path(__file__).parents[1]
DATA_DIR = Path("../shared/data")
RUNS_DIR = Path("runs")
CHECKPOINTS_DIR = PROJECT_DIR / "checkpoints"
REPORTS_DIR = PROJECT_DIR / "reports"

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    command: Command = options.command
    command(options)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="face-models", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_import(commands)
    _add_train(commands)
    _add_history(commands)
    _add_export(commands)
    _add_calibrate(commands)
    _add_evaluate(commands)
    _add_detector(commands)
    _add_quality(commands)
    _add_robustness(commands)
    _add_compress(commands)
    return parser


def _add(commands: Commands, name: str, summary: str, command: Command) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DATA_DIR, help="training data folder")
    parser.add_argument("--runs", type=Path, default=RUNS_DIR, help="folder of all training runs")


def _add_prepare(commands: Commands) -> None:
    parser = _add(commands, "prepare", "decode the training faces once", _prepare)
    parser.add_argument(
        "--heatmaps",
        metavar="RUN",
        help="also draw the heatmaps of this run's base network to .npy",
    )
    _add_folders(parser)


def _add_import(commands: Commands) -> None:
    parser = _add(commands, "import", "your own photos, a folder a person -> training set", _import)
    parser.add_argument("photos", type=Path, help="folder of folders, one a person")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--data", type=Path, required=True, help="folder of the new training set")


def _add_train(commands: Commands) -> None:
    parser = _add(commands, "train", "train a network, or go on where it stopped", _train)
    parser.add_argument("config", type=Path, help="a file of models/configs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, help="instead of the config's; the run is NAME-SEED")
    parser.add_argument(
        "--compile", action="store_true", help="faster at 112 px; needs a C++ compiler"
    )
    _add_folders(parser)


def _add_history(commands: Commands) -> None:
    parser = _add(commands, "history", "how training runs went: curves, figures, seeds", _history)
    parser.add_argument("names", nargs="+", metavar="RUN", help="folders of --runs")
    parser.add_argument("--json", type=Path, default=REPORTS_DIR / "training.json")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    _add_folders(parser)


def _add_export(commands: Commands) -> None:
    parser = _add(commands, "export", "runs -> ONNX graphs, model.json, calibration", _export)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS_DIR)
    parser.add_argument(
        "--from-checkpoints", action="store_true", help="export the shipped checkpoints, not runs"
    )
    parser.add_argument(
        "--base-of", metavar="RUN", help="nothing but this run's base.onnx, for comparisons"
    )
    parser.add_argument("--json", type=Path, default=REPORTS_DIR / "validation.json")
    _add_folders(parser)


def _add_calibrate(commands: Commands) -> None:
    parser = _add(
        commands, "calibrate", "what a similarity is worth: fit it and prove it", _calibrate
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--people", type=Path, help="a folder per person, to search for them: for report only"
    )
    parser.add_argument(
        "--report", type=Path, default=REPORTS_DIR / "calibration.json", help="also .md and .png"
    )
    _add_folders(parser)


def _add_evaluate(commands: Commands) -> None:
    parser = _add(
        commands, "evaluate", "the whole pipeline on pairs (1:1) or a gallery (1:N)", _evaluate
    )
    parser.add_argument("--pairs", type=Path, help="CSV: [fold,] a, b, same; or LFW's pairs.txt")
    parser.add_argument("--images", type=Path, help="folder the pairs' paths are in")
    parser.add_argument("--gallery", type=Path, help="folder per person: one photo enrolled each")
    parser.add_argument(
        "--validation", action="store_true", help="all pairs of the validation identities"
    )
    parser.add_argument("--model", choices=("base", "heatmap", "both"), default="heatmap")
    parser.add_argument(
        "--descriptor",
        choices=("embedding", "heatmap", "both"),
        default="embedding",
        help="what is compared; heatmap: the paper's, of the Grad-CAM++ map itself",
    )
    parser.add_argument(
        "--flip", action="store_true", help="beside it: crop and mirror image together"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--landmarks",
        type=Path,
        help="CSV of reference landmarks: judge the networks alone, without our detector",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the enrolled photos, the bootstrap")
    parser.add_argument("--replicates", type=int, default=1000, help="draws of the bootstrap")
    parser.add_argument("--cache", type=Path, help="file that keeps the photos' templates (.npz)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--markdown", type=Path, help="where to write them as tables")
    parser.add_argument("--plot", type=Path, help="folder of all curves, or one file for the ROC")
    parser.add_argument("--plot-format", choices=("png", "svg"), default="png")
    _add_folders(parser)


def _add_quality(commands: Commands) -> None:
    parser = _add(commands, "quality", "what the quality foretells; --fit makes it anew", _quality)
    parser.add_argument("--fit", action="store_true", help="write quality.json, occlusion.npz")
    parser.add_argument("--limit", type=int, default=4000, help="validation faces to look at")
    parser.add_argument("--model", choices=("base", "heatmap"), default="heatmap")
    _add_pairs_and_reports(parser, "quality")
    _add_folders(parser)


def _add_robustness(commands: Commands) -> None:
    parser = _add(commands, "robustness", "pairs with one photo spoilt, by severity", _robustness)
    parser.add_argument("--landmarks", type=Path, help="CSV: align by these, not by our detector")
    parser.add_argument(
        "--whole-pipeline", action="store_true", help="spoil the photo before detection"
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="another weights folder, or one with base.onnx alone; may be given several times",
    )
    parser.add_argument("--limit", type=int, help="pairs of either kind to look at")
    parser.add_argument("--model", choices=("base", "heatmap", "both"), default="both")
    _add_pairs_and_reports(parser, "robustness")
    _add_folders(parser)


def _add_pairs_and_reports(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--pairs", type=Path, help="pairs of photos, as for evaluate")
    parser.add_argument("--images", type=Path, help="folder the pairs' paths are in")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=REPORTS_DIR / f"{name}.json")
    parser.add_argument("--markdown", type=Path, default=REPORTS_DIR / f"{name}.md")
    parser.add_argument("--plot", type=Path, default=REPORTS_DIR / f"{name}.png")


def _add_detector(commands: Commands) -> None:
    parser = commands.add_parser("detector", help="train, export or evaluate the face detector")
    steps = parser.add_subparsers(required=True, metavar="STEP")
    train = _add(steps, "train", "train the detector, or go on", _train_detector)
    train.add_argument("config", type=Path)
    train.add_argument("--threads", type=int, default=2)
    _add_folders(train)
    export = _add(steps, "export", "checkpoint -> detector.onnx, landmarks.onnx", _export_detector)
    export.add_argument("checkpoint", type=Path)
    export.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    evaluate = _add(steps, "evaluate", "recall and landmark error", _evaluate_detector)
    evaluate.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    evaluate.add_argument("--data", type=Path, default=DATA_DIR)
    evaluate.add_argument("--split", choices=("train", "val", "lfw"), default="val")
    evaluate.add_argument("--json", type=Path)
    evaluate.add_argument("--markdown", type=Path)
    evaluate.add_argument("--plot", type=Path, help="recall by size and by roll (PNG or SVG)")


def _add_compress(commands: Commands) -> None:
    parser = _add(commands, "compress", "int8 and float16 weights; pruning", _compress)
    parser.add_argument("--part", choices=("edge", "pruning", "both"), default="both")
    parser.add_argument(
        "--out", type=Path, default=RUNS_DIR / "compressed", help="gets a weights folder per form"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS_DIR)
    parser.add_argument("--pairs", type=Path, help="labelled pairs to report every form on")
    parser.add_argument("--images", type=Path, help="folder the pairs' paths are in")
    parser.add_argument("--steps", type=int, default=300, help="of fine-tuning after pruning")
    parser.add_argument("--seeds", type=int, default=3, help="how often each arm is tuned")
    parser.add_argument("--threads", type=int, default=1, help="of fine-tuning")
    parser.add_argument("--json", type=Path, default=REPORTS_DIR / "compression.json")
    _add_folders(parser)


def _prepare(options: argparse.Namespace) -> None:
    from face_models.training import data, heatmaps
    from face_models.training.train import load_run

    cache_dir = options.runs / "cache"
    print(data.prepare(options.data, cache_dir))
    if options.heatmaps:
        base = load_run(options.runs / options.heatmaps).explained()
        for split in ("train", "val"):
            faces = data.load(options.data, cache_dir, split)
            print(split, heatmaps.precompute(base, faces, cache_dir).shape)


def _import(options: argparse.Namespace) -> None:
    from face_models.pipeline import Pipeline
    from face_models.training.own_photos import NoPeople, import_photos

    try:
        found = import_photos(options.photos, options.data, Pipeline.load(options.weights))
    except (NoPeople, OSError) as error:
        raise SystemExit(f"face-models import: {error}") from error
    for photo, reason in found.refused.items():
        print(f"refused: {photo} ({reason})")
    print(f"{found.faces} faces of {found.people} people; {len(found.refused)} photos refused")


def _train(options: argparse.Namespace) -> None:
    from face_models.training.config import read_config
    from face_models.training.train import train

    name = read_config(options.config).name
    seed: int | None = options.seed
    run_dir = options.runs / (name if seed is None else f"{name}-{seed}")
    compiled: bool = options.compile
    trained = train(
        options.config, options.data, run_dir, options.threads, seed=seed, compiled=compiled
    )
    print(trained)


def _history(options: argparse.Namespace) -> None:
    from face_models.training import history, report
    from face_models.training.provenance import provenance

    runs = [history.read_run(options.runs / name) for name in options.names]
    print(history.table(runs))
    source = asdict(provenance("logs of the named runs; figures on the validation identities"))
    report.write_document({**history.document(runs), "provenance": source}, options.json)
    if options.markdown:
        options.markdown.write_text(history.table(runs))
    if options.plot:
        history.draw(runs, options.plot)


def _export(options: argparse.Namespace) -> None:
    from face_models.training import publish, report
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


def _calibrate(options: argparse.Namespace) -> None:
    from face_models.training import calibration_plot, calibration_report, report
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


def _evaluate(options: argparse.Namespace) -> None:
    from face_models.training import harness, report, tables
    from face_models.training.protocol import UnusableInput
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
    from face_models.training.bootstrap import Resampling
    from face_models.training.harness import Request
    from face_models.training.templates import NETWORKS, ways

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


def _quality(options: argparse.Namespace) -> None:
    from face_models.training import quality_report

    told = ("weights", "model", "fit", "limit", "seed", "pairs", "images", "threads", "data")
    request = quality_report.Request(
        decoded=options.runs / "cache", **{name: getattr(options, name) for name in told}
    )
    quality_report.write(
        quality_report.report(request), options.json, options.markdown, options.plot
    )


def _robustness(options: argparse.Namespace) -> None:
    from face_models.training import robustness_report
    from face_models.training.protocol import UnusableInput

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


def _train_detector(options: argparse.Namespace) -> None:
    from face_models.training.detector.train import train

    print(train(options.config, options.data, options.runs / "detector", options.threads))


def _export_detector(options: argparse.Namespace) -> None:
    from face_models.spec import write_specs
    from face_models.training.detector.export import export
    from face_models.training.provenance import provenance

    print(export(options.checkpoint, options.weights / "detector.onnx"))
    source = asdict(provenance("detect/photos.parquet and train/: their `train` splits"))
    write_specs(options.weights, {"detector": source, "landmarks": source})


def _evaluate_detector(options: argparse.Namespace) -> None:
    from face_models.training import report
    from face_models.training.detector import tables
    from face_models.training.detector.evaluate import evaluate
    from face_models.training.provenance import provenance

    figures = evaluate(options.weights / "detector.onnx", options.data, options.split)
    document = {**asdict(figures), "provenance": asdict(provenance(f"{options.split} photos"))}
    print("\n".join(tables.lines_of(figures)))
    if options.json:
        report.write_document(document, options.json)
    if options.markdown:
        tables.write_markdown(figures, options.markdown)
    if options.plot:
        tables.draw_recall(figures, options.plot)


def _compress(options: argparse.Namespace) -> None:
    import torch

    from face_models.training import report as documents
    from face_models.training.compression import report, study
    from face_models.training.compression.trial import TrialSettings

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
