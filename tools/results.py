"""The README's measured results, written from the files that the measuring commands wrote."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODEL_REPORTS = ROOT / "models" / "reports"
TEST_REPORTS = ROOT / "tests" / "reports"

LAB_CONDITIONS = ("as it is", "gaussian noise", "occlusion", "brightness")
PLACES = ("2x4", "1x2", "2x1", "2x2", "3x1")

Document = Mapping[str, Any]
Rows = Sequence[tuple[str, ...]]


def verification() -> tuple[tuple[str, ...], Rows]:
    """LFW view 2, whole pipeline, beside the paper's best network."""
    report = read(MODEL_REPORTS / "lfw.json")
    alone = read(MODEL_REPORTS / "lfw-reference-landmarks.json")["models"]
    head = ("what is compared", "accuracy", "AUC (95 %)", "EER", "TAR@FAR 1e-2", "TAR@FAR 1e-3")
    rows = [_verification_row(name, figures) for name, figures in report["models"].items()]
    rows += [
        _verification_row(f"{name}, aligned by reference landmarks", figures)
        for name, figures in alone.items()
    ]
    paper = report["paper_best"]
    rows.append(("the paper's best", "", f"{paper['auc']:.4f}", f"{paper['eer']:.4f}", "", ""))
    return head, rows


def _verification_row(title: str, figures: Document) -> tuple[str, ...]:
    low, high = figures["intervals"]["auc"]
    return (
        title,
        f"{figures['accuracy']:.4f} ± {figures['accuracy_std']:.4f}",
        f"{figures['auc']:.4f} ({low:.4f} to {high:.4f})",
        f"{figures['eer']:.4f}",
        f"{figures['tar_at_far']['0.01']:.4f}",
        f"{figures['tar_at_far']['0.001']:.4f}",
    )


def open_set() -> tuple[tuple[str, ...], Rows]:
    """LFW, one photo of everybody enrolled; the rest and people who are not enrolled search."""
    report = read(MODEL_REPORTS / "lfw.json")["identification"]
    head = ("what is compared", "rank-1", "rank-5", "FNIR@FPIR 1 %", "FNIR@FPIR 10 %")
    rows = []
    for name, figures in report.items():
        found, spread = figures["fnir_at_fpir"], figures["intervals"]["fnir_at_fpir"]
        rows.append(
            (
                name,
                _share(figures["rank_1"], figures["intervals"]["rank_1"]),
                _share(figures["rank_5"], figures["intervals"]["rank_5"]),
                _share(found["0.01"], spread["0.01"]),
                _share(found["0.1"], spread["0.1"]),
            )
        )
    return head, rows


def _share(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def calibration() -> tuple[tuple[str, ...], Rows]:
    """Stated against measured FPIR of the heatmap network, people whom the fit has not seen."""
    report = read(MODEL_REPORTS / "calibration.json")
    head = ("searched for", "gallery", "FPIR stated", "95 % of measurements", "measured", "within")
    rows = [
        (
            f"{proof['searches']} ({proof['probes']:,})",
            f"{proof['gallery_size']:,}: {proof['composition']}",
            f"{proof['stated']:.0%}",
            f"{proof['low']:.2%} to {proof['high']:.2%}",
            f"{proof['measured']:.2%}",
            _within(proof),
        )
        for proof in report["models"]["heatmap"]["proofs"]
    ]
    return head, rows


def _within(proof: Document) -> str:
    if proof["within"]:
        return "yes"
    return "no: fewer" if proof["measured"] < proof["low"] else "no: MORE"


def robustness() -> tuple[tuple[str, ...], Rows]:
    """Mean drop of AUC at the paper's severities: what is shipped, and a pair trained alike."""
    shipped, pair = (
        read(MODEL_REPORTS / file)["mean_drop_at_the_papers_severities"]
        for file in ("robustness.json", "robustness-augmentation.json")
    )
    arms = {name: drops for name, drops in pair.items() if name not in shipped}
    report = {**shipped, **arms}
    conditions = list(next(iter(report.values())))
    rows = []
    for network, drops in report.items():
        cells = [drops[condition] for condition in conditions]
        told = [f"{c['auc']:.4f} ({c['interval'][0]:.4f} to {c['interval'][1]:.4f})" for c in cells]
        rows.append((network, *told))
    return ("network", *conditions), rows


def drills() -> tuple[tuple[str, ...], Rows]:
    """What the gateway came through: real processes killed, starved, attacked."""
    held = read(TEST_REPORTS / "drills.json")["drills"]
    rows = [(one["name"], "passed" if one["passed"] else "FAILED", one["told"]) for one in held]
    return ("drill", "", "what came of it"), rows


def channel() -> tuple[tuple[str, ...], Rows]:
    """Forms of the heatmap beside a network that is told nothing; validation identities."""
    report = read(MODEL_REPORTS / "channel.json")
    control = report["controls"][0]
    minus = f"minus {control} (95 %)"
    head = ("form", "seeds", "AUC, alone", minus, "AUC, together", minus)
    rows = [
        (
            form,
            str(len(one["seeds"])),
            *_beside_control(one, "alone", control),
            *_beside_control(one, "together", control),
        )
        for form, one in report["forms"].items()
    ]
    return head, rows


def laboratory() -> tuple[tuple[str, ...], Rows]:
    """Macro-F1 of the paper's table 1 and AUC of its figures 4 to 6, base beside heatmap."""
    report = read(MODEL_REPORTS / "lab" / "paper" / "report.json")
    lfw, paper = report["lfw"], read(MODEL_REPORTS / "lfw.json")["paper_best"]
    head = ("people", "network", "arm", *LAB_CONDITIONS, f"LFW: AUC (paper: {paper['auc']})")
    rows = []
    for name, study in report["studies"].items():
        for backbone, arms in study["networks"].items():
            for arm in ("base", "heatmap"):
                found = arms[arm]["table"]
                auc = lfw["networks"][backbone][arm]["auc"] if name == lfw["study"] else None
                figures = [_spread(found[condition]["macro_f1"]) for condition in LAB_CONDITIONS]
                rows.append((name, backbone, arm, *figures, _spread(auc) if auc else ""))
    return head, rows


def _beside_control(form: Document, answer: str, control: str) -> tuple[str, str]:
    auc = _spread(form["figures"][answer]["auc"])
    if control not in form["minus"]:
        return auc, ""
    told = form["minus"][control][answer]["auc"]
    low, high = told["interval"]
    return auc, f"{told['mean']:+.4f} ({low:+.4f} to {high:+.4f})"


def _spread(figure: Document) -> str:
    if "std" not in figure:
        return f"{figure['mean']:.4f}"
    return f"{figure['mean']:.4f} ± {figure['std']:.4f}"


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
    report = read(TEST_REPORTS / "demo.json")
    head = ("gallery", "persons", "faces", "searches", "rank-1", "rank-5", "refused")
    row = (
        "demo people",
        str(report["persons"]),
        str(report["faces"]),
        str(report["searches"]),
        f"{report['rank_1']:.1%}",
        f"{report['rank_5']:.1%}",
        str(report["refused"]),
    )
    return head, [row]


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


def scale() -> tuple[tuple[str, ...], Rows]:
    """What grows with the photo, the gallery and the number of callers."""
    bench = read(TEST_REPORTS / "bench.json")
    more_ms = bench["embed_12mp_p50_ms"] - bench["embed_beside_12mp_p50_ms"]
    photos = _ms(bench, "embed_1mp", "embed_12mp")
    kinds = ("uncached_rps", "uncached_rps_250px", "cached_rps")
    rates = [f"{bench[f'http_{kind}']:.0f}/s" for kind in kinds]
    places = [
        f"{place.replace('x', ' x ')} {bench[f'http_uncached_rps_{place}']:.0f}/s"
        for place in PLACES
    ]
    rows = [
        (
            "photo of 1 and of 12 megapixels → embeddings, one core",
            f"{photos}; 12 cost {more_ms:.0f} ms more than 250 px",
        ),
        (
            "exact search among 100,000 and 1,000,000 faces, one core",
            _ms(bench, "search_100k", "search_1m"),
        ),
        (
            "the same among noise, the hardest case",
            _ms(bench, "search_uniform_100k", "search_uniform_1m"),
        ),
        (
            "1,000,000 faces for both models: memory; start of a worker",
            f"{bench['search_1m_rss_mb']:.0f} MB; {bench['search_1m_start_s']:.1f} s",
        ),
        (
            "12-MP photo in, JSON out, both servers, 50,000 faces: median; 95 %",
            f"{bench['http_p50_ms']:.0f} ms; {bench['http_p95_ms']:.0f} ms",
        ),
        (
            "searches at saturation, uncached: photos of 960 x 1280 px, of 250 px; cached",
            "; ".join(rates),
        ),
        ("the first by the inference tier's processes x threads", ", ".join(places)),
        ("bulk enrolment", f"{bench['enrol_faces_per_s']:.0f} faces/s"),
    ]
    return ("what", "measured (medians, where nothing else is said)"), rows


def _ms(bench: Document, *names: str) -> str:
    return ", ".join(f"{bench[f'{name}_p50_ms']:.1f} ms" for name in names)


def milvus() -> tuple[tuple[str, ...], Rows]:
    """Exact search in process and Milvus Lite, in turns; see the command for what is measured."""
    head = ("faces", "exact: p50", "memory", "Milvus Lite: p50", "memory", "built in")
    rows = [
        (
            f"{size['faces']:,}",
            f"{size['exact_p50_ms']:.1f} ms",
            f"{size['exact_mib']:.0f} MiB",
            f"{size['milvus_p50_ms']:.0f} ms",
            f"{size['milvus_mib']:.0f} MiB",
            f"{size['build_s']:.1f} s",
        )
        for size in read(TEST_REPORTS / "milvus.json")["sizes"]
    ]
    return head, rows


def detection() -> tuple[tuple[str, ...], Rows]:
    """The detector as it is served, on the held-out photos of its data set."""
    report = read(MODEL_REPORTS / "detector.json")
    head = ("faces", "number", "recall (95 %)", "landmark error, median")
    overall = (
        "all labelled",
        str(report["faces"]),
        f"{report['served_recall']:.1%}",
        f"{report['median_landmark_error']:.1%} of the eyes' distance",
    )
    groups = ("by_score", "by_size", "by_share", "by_roll", "by_crowd")
    kinds = [kind for group in groups for kind in report[group]]
    return head, [overall, *(_detection_row(kind) for kind in kinds)]


def _detection_row(kind: Document) -> tuple[str, ...]:
    error = kind["median_landmark_error"]
    return (
        kind["kind"],
        str(kind["faces"]),
        f"{kind['recall']:.1%} ({kind['recall_low']:.1%} to {kind['recall_high']:.1%})",
        "" if error is None else f"{error:.1%}",
    )


def read(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document
