"""The README's measured results, written from the files that the measuring commands wrote."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODEL_REPORTS = ROOT / "models" / "reports"
TEST_REPORTS = ROOT / "tests" / "reports"

Document = Mapping[str, Any]
Rows = Sequence[tuple[str, ...]]


def verification() -> tuple[tuple[str, ...], Rows]:
    """LFW view 2, whole pipeline, beside the paper's best network."""
    report = read(MODEL_REPORTS / "lfw.json")
    head = ("network", "accuracy", "AUC", "EER", "TAR@FAR 1e-2", "TAR@FAR 1e-3", "not enrolled")
    alone = read(MODEL_REPORTS / "lfw-reference-landmarks.json")["models"]
    rows = [_verification_row(name, figures) for name, figures in report["models"].items()]
    rows += [
        _verification_row(
            f"{name}, pairs of enrolled photos only", {**figures, **figures["enrolled_only"]}
        )
        for name, figures in report["models"].items()
    ]
    rows += [
        _verification_row(f"{name}, aligned by reference landmarks", figures)
        for name, figures in alone.items()
    ]
    paper = report["paper_best"]
    rows.append(("the paper's best", "", f"{paper['auc']:.4f}", f"{paper['eer']:.4f}", "", "", ""))
    return head, rows


def _verification_row(title: str, figures: Document) -> tuple[str, ...]:
    return (
        title,
        f"{figures['accuracy']:.4f} ± {figures['accuracy_std']:.4f}",
        f"{figures['auc']:.4f}",
        f"{figures['eer']:.4f}",
        f"{figures['tar_at_far']['0.01']:.4f}",
        f"{figures['tar_at_far']['0.001']:.4f}",
        f"{figures['failures_to_enrol']} of {figures['photos']}",
    )


def validation() -> tuple[tuple[str, ...], Rows]:
    """The validation identities, which every choice was made on."""
    report = read(MODEL_REPORTS / "validation.json")
    head = ("network", "AUC", "EER", "TAR@FAR 1e-2", "TAR@FAR 1e-3", "ONNX against torch")
    rows = [
        (
            name,
            f"{figures['auc']:.4f}",
            f"{figures['eer']:.4f}",
            f"{figures['tar_at_far']['0.01']:.4f}",
            f"{figures['tar_at_far']['0.001']:.4f}",
            f"{report['onnx_against_torch_max_difference'][name]:.1e}",
        )
        for name, figures in report["models"].items()
    ]
    return head, rows


def identification() -> tuple[tuple[str, ...], Rows]:
    """Searches over HTTP, through the gateway."""
    head = ("gallery", "persons", "faces", "searches", "rank-1", "rank-5", "refused")
    rows = [
        (
            title,
            str(report["persons"]),
            str(report["faces"]),
            str(report["searches"]),
            f"{report['rank_1']:.1%}",
            f"{report['rank_5']:.1%}",
            str(report["refused"]),
        )
        for title, report in (
            ("demo people", read(TEST_REPORTS / "demo.json")),
            ("LFW, everybody with two photos", read(TEST_REPORTS / "lfw_gallery.json")),
        )
    ]
    return head, rows


def speed() -> tuple[tuple[str, ...], Rows]:
    """One core, both ways in turns; see the command for what each way does."""
    bench = read(TEST_REPORTS / "bench.json")
    head = ("one core, median", "ours", "the paper's way", "ratio")
    rows = [
        (
            "aligned crop → embeddings",
            f"{bench['embed_crop_p50_ms']:.0f} ms",
            f"{bench['paper_way_crop_p50_ms']:.0f} ms",
            f"{bench['embed_crop_speedup']:.1f} x",
        ),
        (
            "250-px photo → embeddings",
            f"{bench['embed_p50_ms']:.0f} ms",
            f"{bench['paper_way_p50_ms']:.0f} ms",
            f"{bench['embed_speedup']:.1f} x",
        ),
    ]
    return head, rows


def detection() -> tuple[tuple[str, ...], Rows]:
    """The detector as it is served, on the held-out photos of its data set."""
    report = read(MODEL_REPORTS / "detector.json")
    head = ("photos", "faces", "average precision", "recall", "false alarms", "landmark error")
    row = (
        str(report["photos"]),
        str(report["faces"]),
        f"{report['average_precision']:.4f}",
        f"{report['served_recall']:.4f}",
        f"{report['served_false_alarms_per_photo']:.3f} a photo",
        f"{report['landmark_error']:.1%} of the eyes' distance",
    )
    return head, [row]


def read(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document
