"""`face-models`: prepare, train, export and evaluate the networks.

All of it needs the `training` extra; nothing of that is imported before it is asked for, so that
`--help` works on a serving machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from face_models.spec import WEIGHTS_DIR

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - no public name

PROJECT_DIR = Path(__file__).parents[1]
DATA_DIR = Path("../shared/data")
RUNS_DIR = Path("runs")
CHECKPOINTS_DIR = PROJECT_DIR / "checkpoints"
REPORTS_DIR = PROJECT_DIR / "reports"
PEOPLE_DIR = PROJECT_DIR.parent / "tests" / "data" / "people"


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    try:
        commands = import_module("face_models.training.commands")
        getattr(commands, options.command)(options)
    except FileNotFoundError as error:
        raise SystemExit(f"face-models: {error}") from error
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"face-models: {error.name} is not installed; training and measuring need "
            "`pip install 'reunite-face-models[training]'`."
        ) from error


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="face-models", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_import(commands)
    _add_train(commands)
    _add_history(commands)
    _add_channel(commands)
    _add_export(commands)
    _add_calibrate(commands)
    _add_evaluate(commands)
    _add_detector(commands)
    _add_quality(commands)
    _add_robustness(commands)
    _add_restored(commands)
    _add_compress(commands)
    _add_lab(commands)
    return parser


def _add(commands: Commands, name: str, summary: str, command: str) -> argparse.ArgumentParser:
    """`command` is the name of a function in training/commands.py."""
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DATA_DIR, help="training data folder")
    parser.add_argument("--runs", type=Path, default=RUNS_DIR, help="folder of all training runs")


def _add_prepare(commands: Commands) -> None:
    parser = _add(commands, "prepare", "decode the training faces once", "prepare")
    parser.add_argument(
        "--heatmaps",
        metavar="RUN",
        help="also draw the heatmaps of this run's base network to .npy",
    )
    _add_folders(parser)


def _add_import(commands: Commands) -> None:
    parser = _add(
        commands,
        "import",
        "your own photos, a folder a person -> training set",
        "import_own_photos",
    )
    parser.add_argument("photos", type=Path, help="folder of folders, one a person")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--data", type=Path, required=True, help="folder of the new training set")


def _add_train(commands: Commands) -> None:
    parser = _add(commands, "train", "train a network, or go on where it stopped", "train")
    parser.add_argument("config", type=Path, help="a file of models/configs")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--processes", type=int, default=1, help="that share every batch")
    parser.add_argument("--seed", type=int, help="instead of the config's; the run is NAME-SEED")
    parser.add_argument(
        "--compile", action="store_true", help="faster at 112 px; needs a C++ compiler"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="faster where the processor has AMX"
    )
    _add_folders(parser)


def _add_history(commands: Commands) -> None:
    parser = _add(commands, "history", "how training runs went: curves, figures, seeds", "history")
    parser.add_argument("names", nargs="+", metavar="RUN", help="folders of --runs")
    parser.add_argument("--json", type=Path, default=REPORTS_DIR / "training.json")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    _add_folders(parser)


def _add_channel(commands: Commands) -> None:
    parser = _add(commands, "channel", "does the heatmap help? its forms side by side", "channel")
    parser.add_argument(
        "names", nargs="*", metavar="RUN", help="folders of --runs; otherwise all channel-*-SEED"
    )
    parser.add_argument(
        "--controls", nargs="+", default=["zero", "base"], help="forms that all are compared with"
    )
    parser.add_argument("--replicates", type=int, default=200, help="draws of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument(
        "--json", type=Path, default=REPORTS_DIR / "channel.json", help="also .md and .png"
    )
    _add_folders(parser)


def _add_export(commands: Commands) -> None:
    parser = _add(commands, "export", "runs -> ONNX graphs, model.json, calibration", "export")
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
        commands, "calibrate", "what a similarity is worth: fit it and prove it", "calibrate"
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
        commands, "evaluate", "the whole pipeline on pairs (1:1) or a gallery (1:N)", "evaluate"
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
    parser = _add(commands, "quality", "what the quality foretells; --fit makes it anew", "quality")
    parser.add_argument("--fit", action="store_true", help="write quality.json, occlusion.npz")
    parser.add_argument("--limit", type=int, default=4000, help="validation faces to look at")
    parser.add_argument("--model", choices=("base", "heatmap"), default="heatmap")
    _add_pairs_and_reports(parser, "quality")
    _add_folders(parser)


def _add_robustness(commands: Commands) -> None:
    parser = _add(commands, "robustness", "pairs with one photo spoilt, by severity", "robustness")
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


def _add_restored(commands: Commands) -> None:
    summary = "masked faces: find the mask, fill it in, measure match and age"
    parser = commands.add_parser("restored", help=summary, description=summary)
    steps = parser.add_subparsers(required=True, metavar="STEP")
    train = _add(steps, "train", "train one of its networks, or go on", "train_restored")
    train.add_argument("config", type=Path, help="a file of models/configs/restored")
    train.add_argument("--threads", type=int, default=2)
    export = _add(steps, "export", "region and age graphs, told if asked for", "export_restored")
    export.add_argument("--age", metavar="RUN", help="whose network tells ages; by default none")
    export.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    evaluate = _add(
        steps, "evaluate", "original, masked, restored: match, age", "evaluate_restored"
    )
    evaluate.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    evaluate.add_argument(
        "--part", choices=("people", "ages", "both"), default="both", help="the other is kept"
    )
    evaluate.add_argument("--people", type=Path, default=PEOPLE_DIR, help="shown in the picture")
    evaluate.add_argument("--probes", type=int, default=2, help="photos searched for, of a person")
    evaluate.add_argument("--replicates", type=int, default=300, help="draws of the bootstrap")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--threads", type=int, default=1)
    evaluate.add_argument(
        "--report", type=Path, default=REPORTS_DIR / "restored.json", help="also .md and .png"
    )
    for step in (train, export, evaluate):
        _add_folders(step)


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
    train = _add(steps, "train", "train the detector, or go on", "train_detector")
    train.add_argument("config", type=Path)
    train.add_argument("--threads", type=int, default=2)
    _add_folders(train)
    export = _add(steps, "export", "checkpoint -> detector.onnx, landmarks.onnx", "export_detector")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    evaluate = _add(steps, "evaluate", "recall and landmark error", "evaluate_detector")
    evaluate.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    evaluate.add_argument("--data", type=Path, default=DATA_DIR)
    evaluate.add_argument("--split", choices=("train", "val", "lfw"), default="val")
    evaluate.add_argument("--json", type=Path)
    evaluate.add_argument("--markdown", type=Path)
    evaluate.add_argument("--plot", type=Path, help="recall by size and by roll (PNG or SVG)")
    evaluate.add_argument(
        "--second-landmarks",
        type=Path,
        help="another landmark graph: how near two networks come to each other and to the labels",
    )


def _add_compress(commands: Commands) -> None:
    parser = _add(commands, "compress", "int8 and float16 weights; pruning", "compress")
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


def _add_lab(commands: Commands) -> None:
    parser = commands.add_parser("lab", help="the paper's study, from photos to report")
    steps = parser.add_subparsers(required=True, metavar="STEP")
    run = _add(steps, "run", "every table and figure, going on where it was stopped", "run_lab")
    run.add_argument("--people", type=Path, default=PEOPLE_DIR, help="shown in the pictures")
    run.add_argument(
        "--report", type=Path, help="folder; models/reports/lab/NAME, the config's, without it"
    )
    plan = _add(steps, "plan", "how many minutes a config will take here", "plan_lab")
    keep = _add(steps, "start", "keep a run's network as its backbone's start", "keep_lab_start")
    keep.add_argument("run", help="name of a run, as of models/configs/lab/starts")
    keep.add_argument("--checkpoints", type=Path, default=CHECKPOINTS_DIR)
    _add_folders(keep)
    for step in (run, plan):
        step.add_argument("--config", type=Path, required=True, help="a file of models/configs/lab")
        step.add_argument("--threads", type=int, default=2)
        _add_folders(step)
