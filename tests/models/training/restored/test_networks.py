"""Networks, losses and settings of the restored faces."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from face_models.training.restored import faces as who
from face_models.training.restored.lessons import grown, iou
from face_models.training.restored.losses import hole_error, mean_variance, region_loss
from face_models.training.restored.networks import (
    OLDEST_YEARS,
    AgeHead,
    RegionNetwork,
    Restorer,
    expected_years,
)
from face_models.training.restored.settings import (
    RegionSettings,
    RestorationSettings,
    read_run,
    run_from,
)
from face_models.training.restored.trained import Restoration, reported

pytestmark = pytest.mark.training

CONFIGS = Path(__file__).parents[4] / "models" / "configs" / "restored"
REGION = RegionSettings((4, 8, 8), 0.5, 0.2, 0.4)
RESTORATION = RestorationSettings((4, 8, 8), 2, 0.2, 0.5, 2)


MEAN_FACE = torch.full((112, 112, 3), 100.0)


def restorer() -> Restorer:
    """As if it had learnt something."""
    torch.manual_seed(0)
    network = Restorer(RESTORATION, MEAN_FACE).eval()
    nn.init.normal_(network.paint.weight)
    return network


def picture(count: int = 2) -> torch.Tensor:
    return 255 * torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(0))


def lower_half(count: int = 2) -> torch.Tensor:
    hole = torch.zeros(count, 1, 112, 112)
    hole[:, :, 60:] = 1
    return hole


def test_what_was_seen_is_never_invented() -> None:
    rgb, hole = picture(), lower_half()

    restored = restorer()(rgb, hole)

    assert torch.equal(restored[:, :, :60], rgb[:, :, :60])
    assert restored.min() >= 0
    assert restored.max() <= 255


def test_what_a_mask_shows_has_no_part_in_what_is_filled_in() -> None:
    network, hole = restorer(), lower_half()
    one = picture()
    other = torch.where(hole > 0, 255 - one, one)

    assert torch.allclose(network(one, hole), network(other, hole), atol=1e-3)


def test_before_it_has_learnt_anything_it_fills_in_the_mean_face() -> None:
    rgb, hole = torch.full((1, 3, 112, 112), 50.0), lower_half(1)

    restored = Restorer(RESTORATION, MEAN_FACE)(rgb, hole)

    assert restored.detach().numpy() == pytest.approx(50, abs=0.01)


def test_a_region_is_told_for_every_pixel() -> None:
    assert RegionNetwork(REGION)(picture()).shape == (2, 1, 112, 112)


def test_a_region_too_small_to_speak_of_is_not_reported() -> None:
    regions = np.zeros((2, 112, 112), dtype=bool)
    regions[0, :10, :10] = True
    regions[1, 50:] = True

    assert reported(regions).any(axis=(1, 2)).tolist() == [False, True]


def test_a_face_without_a_region_comes_back_as_it_is_from_either_filling() -> None:
    nothing = np.zeros((1, 112, 112), dtype=bool)
    faces = picture(1).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    restoration = Restoration(RegionNetwork(REGION), restorer())

    assert np.array_equal(restoration.restored(faces, nothing), faces)
    assert np.array_equal(restoration.averaged(faces, nothing), faces)


def test_the_mean_face_is_as_light_as_the_photo_around_it() -> None:
    region = np.zeros((1, 112, 112), dtype=bool)
    region[:, 60:] = True
    restoration = Restoration(RegionNetwork(REGION), restorer())

    filled = restoration.averaged(np.full((1, 112, 112, 3), 50, dtype=np.uint8), region)

    assert np.unique(filled).tolist() == [50]


def test_a_region_grows_by_its_margin_on_every_side() -> None:
    region = np.zeros((20, 20), dtype=bool)
    region[8:12, 8:12] = True

    assert grown(region, 2).sum() == 8 * 8
    assert grown(region, 0).sum() == 4 * 4


def test_overlap_is_shared_pixels_over_all() -> None:
    a, b = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    a[:2], b[1:3] = True, True

    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(np.zeros_like(a), np.zeros_like(a)) == 1


def test_the_mean_variance_loss_is_that_of_its_formula() -> None:
    """Even chances for the years 10 and 20, true age 18: mean 15, variance 25."""
    logits = torch.full((1, OLDEST_YEARS + 1), -1e4)
    logits[0, [10, 20]] = 0.0

    parts = mean_variance(logits, torch.tensor([20.0]), mean_weight=0.2, variance_weight=0.05)

    assert parts["mean"].item() == pytest.approx(0.2 * (15 - 20) ** 2 / 2)
    assert parts["variance"].item() == pytest.approx(0.05 * 25)
    assert parts["cross_entropy"].item() == pytest.approx(np.log(2))
    assert expected_years(logits).item() == pytest.approx(15)


def test_an_error_counts_in_the_hole_alone() -> None:
    hole = lower_half(1)
    truth = torch.zeros(1, 3, 112, 112)
    painted = torch.where(hole > 0, 51.0, 255.0).expand(1, 3, 112, 112)

    assert hole_error(painted, truth, hole).item() == pytest.approx(0.2)


def test_a_sure_and_right_region_costs_nothing() -> None:
    region = lower_half()

    assert region_loss(200 * region - 100, region).item() == pytest.approx(0, abs=1e-4)
    assert region_loss(100 - 200 * region, region).item() > 50


def test_every_committed_config_can_be_read() -> None:
    runs = [read_run(path) for path in sorted(CONFIGS.glob("*.toml"))]

    assert {run.kind for run in runs} == {"region", "restoration", "age"}
    assert [run.name for run in runs] == [path.stem for path in sorted(CONFIGS.glob("*.toml"))]


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        (None, {"colour": {}}, "colour"),
        (None, {"kind": "noses"}, "noses"),
        ("region", {"depth": 3}, "depth"),
        ("training", {"speed": 1}, "speed"),
    ],
)
def test_an_unknown_key_is_refused_by_name(table: str | None, change: dict, named: str) -> None:
    tables = tomllib.loads((CONFIGS / "region.toml").read_text())
    (tables[table] if table else tables).update(change)

    with pytest.raises((KeyError, TypeError), match=named):
        run_from(tables)


def test_photos_linked_through_a_third_do_one_thing_together() -> None:
    def at(degrees: float) -> list[float]:
        return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]

    group = who.groups_of(np.array([at(0), at(45), at(90), at(200)], dtype=np.float32))

    assert group.tolist() == [0, 0, 0, 3]


def test_groups_do_one_thing_each_and_most_of_them_learn() -> None:
    group = np.repeat(np.arange(3000), 2)
    part = who.parts_of(group)

    assert np.array_equal(part[::2], part[1::2])
    assert np.bincount(part) / len(part) == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_whoever_resembles_a_judge_learns_nothing() -> None:
    judges = np.eye(4, dtype=np.float32)[:1]
    others = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.8, 0.6, 0, 0]], dtype=np.float32)

    assert who.strangers_to(judges, others).tolist() == [1]


def test_a_head_tells_every_year() -> None:
    head: nn.Module = AgeHead(6).eval()

    assert head(torch.zeros(2, 6)).shape == (2, OLDEST_YEARS + 1)
