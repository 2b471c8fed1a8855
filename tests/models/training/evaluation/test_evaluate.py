"""Evaluation of pairs, galleries and identities: failures cost, pairs count once, reports hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from face_models.cli import main
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.evaluate import (
    PairsReport,
    evaluate_pairs,
    identity_scores,
    verify_identities,
)
from face_models.training.evaluation.gallery import GalleryReport, evaluate_gallery
from face_models.training.evaluation.protocol import Pair, Searches
from face_models.training.evaluation.templates import Template

PEOPLE = Path(__file__).parents[3] / "data" / "people"
FEW = Resampling(replicates=20)

pytestmark = pytest.mark.training


def template(direction: int, quality: int = 80) -> Template:
    return Template(quality, {"base": np.eye(8, dtype=np.float32)[direction]})


TEMPLATES = {
    "ada/1": template(1),
    "ada/2": template(1, quality=30),
    "bo/1": template(2),
    "bo/2": template(3),
    "cleo/1": template(4),
    "dara/1": template(2),
    "nobody/1": Template(refusal="no-face"),
    "nobody/2": Template(refusal="quality-too-low"),
}


def verified(*pairs: Pair) -> PairsReport:
    (report,) = evaluate_pairs(TEMPLATES, pairs, ["base"], FEW)
    return report


def searched(enrolled: dict[str, str], mated: list[str], non_mated: list[str]) -> GalleryReport:
    def people(photos: list[str]) -> dict[str, str]:
        return {photo: photo.partition("/")[0] for photo in photos}

    searches = Searches(enrolled, people(mated), people(non_mated))
    (report,) = evaluate_gallery(TEMPLATES, searches, ["base"], FEW)
    return report


def test_pairs_are_scored_by_cosine() -> None:
    report = verified(Pair(1, "ada/1", "ada/2", True), Pair(2, "ada/1", "bo/1", False))
    assert report.similarities.tolist() == [1, 0]
    assert report.verification.auc == 1
    assert report.photos == 3


def test_a_failure_to_enrol_makes_every_pair_of_that_photo_wrong() -> None:
    report = verified(
        Pair(1, "ada/1", "ada/2", True),
        Pair(1, "ada/1", "bo/1", False),
        Pair(2, "nobody/1", "nobody/2", True),
        Pair(2, "bo/1", "nobody/1", False),
    )
    assert report.failures_to_enrol == {"nobody/1": "no-face", "nobody/2": "quality-too-low"}
    assert report.similarities.tolist() == [1, 0, -1, 1]
    assert report.verification.auc < 0.5
    assert report.enrolled_only is not None
    assert report.enrolled_only.auc == 1
    assert report.enrolled_only.pairs == 2


def test_there_is_no_figure_of_enrolled_pairs_where_none_of_a_kind_is_left() -> None:
    report = verified(Pair(1, "nobody/1", "nobody/2", True), Pair(2, "ada/1", "bo/1", False))
    assert report.enrolled_only is None


def test_people_are_drawn_where_folders_name_them_and_pairs_where_not() -> None:
    named = (Pair(1, "ada/1", "ada/2", True), Pair(2, "ada/1", "bo/1", False))
    assert verified(*named).resampled == "people"
    assert verified(*named, Pair(1, "bo/1", "dara/1", True)).resampled == "pairs"


def test_errors_are_told_by_the_quality_of_the_poorer_photo() -> None:
    report = verified(
        Pair(1, "ada/1", "ada/2", True),
        Pair(1, "bo/1", "bo/2", True),
        Pair(2, "ada/1", "bo/1", False),
        Pair(2, "bo/1", "nobody/1", False),
    )
    told = {band: (one.genuine, one.impostor) for band, one in report.by_quality.items()}
    assert told == {"25-49": (1, 0), "75+": (1, 1), "unknown": (0, 1)}
    assert report.by_quality["25-49"].fmr is None
    assert report.by_quality["75+"].fnmr == 1
    assert report.by_quality["75+"].fmr == 0


def test_searches_find_the_enrolled_person() -> None:
    report = searched({"ada": "ada/1", "bo": "bo/1"}, ["ada/2", "bo/2"], ["cleo/1"])
    assert report.identification.rank_1 == 0.5
    assert (report.enrolled, report.mated_searches, report.non_mated_searches) == (2, 2, 1)
    assert report.outcomes.alarm_score.tolist() == [0]


def test_a_failed_probe_or_gallery_photo_is_a_miss_and_a_failed_stranger_no_alarm() -> None:
    enrolled = {"ada": "ada/1", "nobody": "nobody/1"}
    report = searched(enrolled, ["ada/2", "nobody/2"], ["dara/1", "nobody/1"])
    assert report.identification.rank_1 == 0.5
    assert report.identification.cmc[-1] == 0.5
    assert report.outcomes.alarm_score.tolist() == [0, -np.inf]
    assert report.failures_to_enrol == {
        "gallery": {"nobody/1": "no-face"},
        "mated": {"nobody/2": "quality-too-low"},
        "non_mated": {"nobody/1": "no-face"},
    }


def test_every_pair_of_known_faces_is_compared_once() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    scores = identity_scores(vectors, np.array([0, 0, 1, -1]))
    assert scores.genuine.tolist() == [1]
    assert scores.impostor.tolist() == [0, 0]
    assert verify_identities(scores).auc == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Nothing to evaluate"),
        (["--pairs", "no.csv", "--images", "."], "no.csv cannot be read"),
        (["--gallery", "nowhere"], "nowhere is no folder"),
    ],
)
def test_bad_input_ends_in_one_line(arguments: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *arguments])
    assert told in str(end.value)


def test_pairs_without_a_folder_and_photos_of_two_folders_are_refused(tmp_path: Path) -> None:
    pairs = str(_write_demo_pairs(tmp_path / "pairs.csv"))
    with pytest.raises(SystemExit, match="--images"):
        main(["evaluate", "--pairs", pairs])
    _demo_gallery(tmp_path / "gallery")
    two = ["--images", str(PEOPLE), "--gallery", str(tmp_path / "gallery")]
    with pytest.raises(SystemExit, match="one folder"):
        main(["evaluate", "--pairs", pairs, *two])


def test_evaluate_reports_the_shipped_networks_on_demo_people(tmp_path: Path) -> None:
    pairs = _write_demo_pairs(tmp_path / "pairs.csv")
    report, plot = tmp_path / "out.json", tmp_path / "roc.png"
    where = ["--pairs", str(pairs), "--images", str(PEOPLE), "--replicates", "20"]
    main(["evaluate", *where, "--model", "both", "--json", str(report), "--plot", str(plot)])
    document = json.loads(report.read_text())
    assert set(document["models"]) == {"base", "heatmap"}
    assert document["models"]["heatmap"]["auc"] > 0.9
    assert document["models"]["heatmap"]["resampled"] == "people"
    assert {"command", "commit", "data", "date", "machine"} <= set(document["provenance"])
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_one_run_tells_pairs_and_gallery_in_every_way_with_tables_and_curves(
    tmp_path: Path,
) -> None:
    gallery = _demo_gallery(tmp_path / "gallery")
    pairs = _write_demo_pairs(tmp_path / "pairs.csv", gallery)
    report, tables, plots = tmp_path / "out.json", tmp_path / "out.md", tmp_path / "plots"
    what = ["--pairs", str(pairs), "--images", str(gallery), "--gallery", str(gallery)]
    how = ["--model", "both", "--descriptor", "both", "--flip", "--replicates", "10"]
    where = ["--json", str(report), "--markdown", str(tables), "--plot", str(plots)]
    main(["evaluate", *what, *how, *where, "--plot-format", "svg"])
    document = json.loads(report.read_text())
    ways = {"base", "heatmap", "base-flip", "heatmap-flip", "heatmap-descriptor"}
    assert set(document["models"]) == set(document["identification"]) == ways
    for figures in document["identification"].values():
        assert (figures["enrolled"], figures["non_mated_searches"]) == (6, 10)
        assert set(figures["fnir_at_fpir"]) == {"0.1"}
    assert document["identification"]["heatmap"]["rank_1"] > 0.8
    assert {path.name for path in plots.iterdir()} == {
        "roc.svg",
        "det.svg",
        "cmc.svg",
        "open-set.svg",
    }
    told = tables.read_text()
    rank_1 = document["identification"]["heatmap"]["rank_1"]
    assert f"| heatmap | {rank_1:.4f} [" in told
    assert "6 people enrolled, 6 mated and 10 non-mated searches" in told


def _demo_gallery(folder: Path) -> Path:
    """Six people with two photos, ten with one."""
    for number, person in enumerate(_demo_people()[:16]):
        (folder / person.name).mkdir(parents=True)
        for photo in sorted(person.iterdir())[: 2 if number < 6 else 1]:
            shutil.copy(photo, folder / person.name)
    return folder


def _write_demo_pairs(path: Path, folder: Path = PEOPLE) -> Path:
    """Six people: each with herself and with the next one."""
    photos = [sorted((folder / person.name).iterdir())[:2] for person in _demo_people()[:6]]
    names = [[str(photo.relative_to(folder)) for photo in person] for person in photos]
    same = [f"{fold % 2},{a},{b},1" for fold, (a, b) in enumerate(names)]
    different = [f"{n % 2},{names[n][0]},{names[n - 1][1]},0" for n in range(len(names))]
    path.write_text("\n".join(["fold,a,b,same", *same, *different]) + "\n")
    return path


def _demo_people() -> list[Path]:
    return [person for person in sorted(PEOPLE.iterdir()) if person.is_dir()]
