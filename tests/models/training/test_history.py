"""What the runs' logs say, told as a table, a document and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from face_models.training.history import document, draw, read_run, table

pytestmark = pytest.mark.training

CONFIG = """
name = "channel"
backbone = "shufflenet_v2_x1_0"
seed = 1

[[stages]]
input_px = 112
photos = 640
batch = 64
peak_learning_rate = 1e-3
"""


def _run_dir(runs: Path, name: str, tar: float) -> Path:
    folder = runs / name
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    (folder / "log.csv").write_text("step,px,distillation\n5,112,0.9\n10,112,0.5\n")
    (folder / "measured.csv").write_text(
        "step,form,agreement,auc,tar\n"
        f"5,alone,0.3,0.8,0.1\n5,together,0.3,0.8,0.2\n"
        f"10,alone,0.6,0.95,{tar}\n10,together,0.7,0.97,0.6\n"
    )
    return folder


def test_a_run_ends_with_its_last_measurement(tmp_path: Path) -> None:
    run = read_run(_run_dir(tmp_path, "channel-1", tar=0.4))
    assert run.ended_with("alone") == {"agreement": 0.6, "auc": 0.95, "tar": 0.4}
    assert run.ended_with("together")["tar"] == 0.6
    assert "| channel-1 | alone | 640 at 112 | 0.6000 | 0.9500 | 0.4000 |" in table([run])


def test_seeds_of_one_config_are_told_by_mean_and_spread(tmp_path: Path) -> None:
    runs = [read_run(_run_dir(tmp_path, f"channel-{n}", tar)) for n, tar in ((1, 0.4), (2, 0.6))]
    told = document(runs)["over_seeds"]["channel"]["alone"]
    assert told["seeds"] == 2
    assert told["tar"] == pytest.approx({"mean": 0.5, "std": 0.02**0.5})


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    draw([read_run(_run_dir(tmp_path, "channel-1", tar=0.4))], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_measurements_is_named(tmp_path: Path) -> None:
    folder = _run_dir(tmp_path, "channel-1", tar=0.4)
    (folder / "measured.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"channel-1.measured\.csv"):
        read_run(folder)
