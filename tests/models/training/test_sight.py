"""Forms of the heatmap: what each draws, and that every run of the comparison learns by it."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAMPlusPlus
from torch import Tensor

from face_models.training import train as training
from face_models.training.checkpoint import CHECKPOINTS_DIR, load_trained
from face_models.training.config import HeatSettings, RunConfig, read_config
from face_models.training.gradcam import ExplainedBase, IdentityLogits
from face_models.training.measure import EMBEDDED_FILE
from face_models.training.network import BACKBONES, FaceNetwork, continued
from face_models.training.sight import look

pytestmark = pytest.mark.training

FOLDER = Path(__file__).parents[3] / "models" / "configs" / "channel"
CONFIGS = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "start")
FORMS = {path.stem: read_config(path).heat for path in CONFIGS}
DRAWN = sorted(FORMS.keys() - {"zero"})
ALLOWED = 1e-4


@pytest.fixture(scope="module")
def base() -> ExplainedBase:
    return load_trained(CHECKPOINTS_DIR / "base.safetensors").explained()


def _pictures(count: int, side: int = 112) -> Tensor:
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(5)) * 255
    return F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 255)


@pytest.mark.parametrize("name", DRAWN)
def test_a_map_of_any_form_spans_zero_to_one_at_the_input_size(
    base: ExplainedBase, name: str
) -> None:
    heat = look(base, _pictures(3), FORMS[name]).heat
    assert heat.shape == (3, 1, 112, 112)
    assert not heat.requires_grad
    assert torch.allclose(heat.amin(dim=(2, 3)), torch.zeros(3, 1), atol=1e-6)
    assert torch.allclose(heat.amax(dim=(2, 3)), torch.ones(3, 1), atol=1e-4)


def test_who_is_told_nothing_sees_zeros_and_the_same_embedding(base: ExplainedBase) -> None:
    blind, seeing = (look(base, _pictures(2), FORMS[name]) for name in ("zero", "gradcam"))
    assert torch.equal(blind.heat, torch.zeros(2, 1, 112, 112))
    assert torch.equal(blind.embedding, seeing.embedding)


@pytest.mark.parametrize("name", ["top", "itself", "stage3", "smooth", "sharp"])
def test_every_form_draws_another_map_than_the_papers(base: ExplainedBase, name: str) -> None:
    ours, papers = (look(base, _pictures(2), FORMS[form]) for form in (name, "gradcam"))
    assert (ours.heat - papers.heat).abs().mean() > 0.005
    assert torch.allclose(ours.embedding, papers.embedding, atol=1e-6)


def test_the_papers_form_is_what_the_exported_graph_draws(base: ExplainedBase) -> None:
    rgb = _pictures(2, side=224)
    with torch.no_grad():
        embedding, heat = base(rgb)
    seen = look(base, rgb)
    assert torch.equal(seen.heat, heat)
    assert torch.equal(seen.embedding, embedding)


def test_the_map_of_an_earlier_layer_is_the_oracles(base: ExplainedBase) -> None:
    rgb = _pictures(2)
    with GradCAMPlusPlus(IdentityLogits(base), [base.network.trunk.stage3]) as cam:
        expected = np.asarray(cam(rgb, targets=None))
    ours = look(base, rgb, HeatSettings(layer="stage3")).heat[:, 0].numpy()
    assert np.abs(ours - expected).max() <= ALLOWED


def test_the_map_of_five_identities_is_that_of_their_mean_logit(base: ExplainedBase) -> None:
    rgb = _pictures(1)

    def mean_of_five(logits: Tensor) -> Tensor:
        return logits.topk(5).values.mean()

    with GradCAMPlusPlus(IdentityLogits(base), [base.network.trunk[-1]]) as cam:
        expected = np.asarray(cam(rgb, targets=[mean_of_five]))
    ours = look(base, rgb, HeatSettings(explains="top")).heat[:, 0].numpy()
    assert np.abs(ours - expected).max() <= ALLOWED


def test_a_blurred_map_is_smoother_and_a_squared_one_smaller(base: ExplainedBase) -> None:
    plain, blurred, squared = (
        look(base, _pictures(2), form).heat
        for form in (HeatSettings(), HeatSettings(blur=0.2), HeatSettings(power=2.0))
    )
    assert blurred.diff(dim=3).abs().max() < plain.diff(dim=3).abs().max()
    assert torch.equal(squared, plain**2)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_a_new_branch_changes_nothing_and_a_learnt_one_moves_the_answer(backbone: str) -> None:
    start = FaceNetwork(backbone).eval()
    network = continued(start, backbone, 3, branches=True).eval()
    rgb, heat = _pictures(2, side=64), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(rgb, heat), start(rgb))
        assert network.branch is not None
        torch.nn.init.normal_(network.branch[-1].weight, std=1e4)  # an unlearnt trunk dampens it
        assert not torch.equal(network(rgb, heat), start(rgb))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('[heat]\nexplains = "all"', 'explains is one of "best", "top", "itself", "nothing"'),
        ('[heat]\nlayer = "conv1"', 'layer is one of "last", "stage3", not "conv1"'),
        ('[heat]\nenters = "mask"', 'enters is one of "channel", "attention", "branch"'),
        ("[heat]\nblur = 0.5", "blur is from 0 to 0.3, not 0.5"),
        ("[heat]\npower = 0", "power is above 0, not 0"),
        ("[heat]\nclass = 1", "HeatSettings has no key class"),
        ('precomputed_heatmaps = true\n[heat]\nexplains = "top"', "the paper's form"),
    ],
)
def test_an_unknown_form_is_refused(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'name = "base"\nbackbone = "shufflenet_v2_x1_0"\nseed = 1\n{line}\n')
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_config(path)


def test_a_layer_that_the_backbone_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="mobilenet_v3_large has no layer stage3"):
        RunConfig("a", "mobilenet_v3_large", 1, (), heat=HeatSettings(layer="stage3"))


def test_the_runs_of_the_comparison_differ_in_their_form_alone() -> None:
    configs = [read_config(path) for path in CONFIGS]
    assert [config.name for config in configs] == [f"channel-{path.stem}" for path in CONFIGS]
    alike = {replace(config, name="", heat=HeatSettings()) for config in configs}
    assert len(alike) == 1
    assert len({config.heat for config in configs}) == len(configs)


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_form_learns_the_same_by_the_same_seed(
    data_dir: Path, tmp_path: Path, path: Path
) -> None:
    config = tmp_path / "short.toml"
    config.write_text(_cut_short(path.read_text()))
    ended = []
    for name in ("once", "again"):
        training.train(config, data_dir, tmp_path / name, training.Pace(1), seed=4)
        with np.load(tmp_path / name / EMBEDDED_FILE) as embedded:
            ended.append(embedded["alone"])
            assert embedded["together"].shape == embedded["alone"].shape == (24, 128)
    assert np.array_equal(*ended)
    again = training.load_run(tmp_path / "once").network
    assert (again.branch is not None) == (path.stem == "branch")
    assert again.takes_channel == (FORMS[path.stem].enters == "channel")


def _cut_short(config: str) -> str:
    """The same config for two steps of four small photos, from the shipped base, no teacher."""
    short = re.sub(r"photos = \S+\nbatch = \d+", "photos = 8\nbatch = 4\nviews_share = 0.0", config)
    short = short.replace("channel-start", "shipped")
    return re.sub(r"input_px = \d+", "input_px = 64", short)


def test_every_setting_of_a_form_is_tried_by_some_run() -> None:
    for setting in fields(HeatSettings):
        assert len({getattr(form, setting.name) for form in FORMS.values()}) > 1, setting.name
