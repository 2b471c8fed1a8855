"""Exported graphs answer what torch answers, or do not appear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from face_models.spec import WEIGHTS_DIR
from face_models.training.checkpoint import load_trained
from face_models.training.export import (
    ExportError,
    Graph,
    base_graph,
    export_graph,
    heatmap_graph,
    largest_difference,
)
from face_models.training.network import continued
from face_models.training.publish import keep_checkpoints

CHECKPOINTS = Path(__file__).parents[3] / "models" / "checkpoints"
PEOPLE = Path(__file__).parents[2] / "data" / "people"
ALLOWED = 1e-4

pytestmark = pytest.mark.training


def _demo_faces(count: int) -> torch.Tensor:
    files = sorted(PEOPLE.glob("*/*"))[::9][:count]
    faces = [np.asarray(Image.open(f).convert("RGB").resize((224, 224))) for f in files]
    return torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float()


def test_the_shipped_base_graph_answers_what_its_checkpoint_answers() -> None:
    graph = base_graph(load_trained(CHECKPOINTS / "base.safetensors").explained())
    on_faces = Graph(graph.module, {"rgb": _demo_faces(6)}, graph.outputs)
    assert largest_difference(on_faces, WEIGHTS_DIR / "base.onnx") <= ALLOWED


def test_the_shipped_heatmap_graph_answers_what_its_checkpoint_answers() -> None:
    graph = heatmap_graph(load_trained(CHECKPOINTS / "heatmap.safetensors").network)
    explained = load_trained(CHECKPOINTS / "base.safetensors").explained()
    faces = _demo_faces(6)
    with torch.no_grad():
        base, heat = explained(faces)
    inputs = {"rgb": faces, "heatmap": heat, "base": base}
    on_faces = Graph(graph.module, inputs, graph.outputs)
    assert largest_difference(on_faces, WEIGHTS_DIR / "heatmap.onnx") <= ALLOWED


def test_the_second_network_sees_the_mirrored_face_and_its_mirrored_heatmap() -> None:
    network = load_trained(CHECKPOINTS / "heatmap.safetensors").network
    faces, heat = _demo_faces(2), torch.rand(2, 1, 224, 224)
    base = torch.nn.functional.normalize(torch.rand(2, 128))
    with torch.no_grad():
        joined, alone = heatmap_graph(network).module.eval()(faces, heat, base)
        seen = network(faces.flip(3), heat.flip(3))
    expected = torch.nn.functional.normalize(seen)
    assert torch.allclose(alone, expected, atol=1e-6)
    assert torch.allclose(joined, torch.nn.functional.normalize(expected + base), atol=1e-6)


@pytest.mark.parametrize(
    ("entrance", "learnt"),
    [("attends", "attention_strength"), ("branches", "branch.2.weight")],
)
def test_a_network_that_takes_the_heatmap_otherwise_is_exported_too(
    tmp_path: Path, entrance: str, learnt: str
) -> None:
    start = load_trained(CHECKPOINTS / "base.safetensors")
    network = continued(start.network, start.backbone, 3, **{entrance: True}).eval()
    with torch.no_grad():
        network.get_parameter(learnt).fill_(0.5)
    target = tmp_path / "heatmap.onnx"
    assert export_graph(heatmap_graph(network), target) <= ALLOWED
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["rgb", "heatmap", "base"]


@pytest.mark.parametrize("form", ['explains = "top"', "blur = 0.1", 'enters = "nowhere"'])
def test_a_run_that_learnt_other_maps_than_the_base_graph_draws_is_not_published(
    tmp_path: Path, form: str
) -> None:
    (tmp_path / "heatmap").mkdir()
    config = f'name = "heatmap"\nbackbone = "shufflenet_v2_x1_0"\nseed = 1\n[heat]\n{form}\n'
    (tmp_path / "heatmap" / "config.toml").write_text(config)
    with pytest.raises(ExportError, match=r"heatmap learnt another heatmap than base.onnx draws"):
        keep_checkpoints(tmp_path, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


class Doubler(torch.nn.Module):
    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return 2 * rgb


def test_an_exported_graph_names_no_file_of_the_machine_it_was_made_on(tmp_path: Path) -> None:
    target = tmp_path / "doubler.onnx"
    export_graph(Graph(Doubler(), _example(), ("embedding",)), target)
    assert b".py" not in target.read_bytes()


@pytest.mark.parametrize("file", sorted(WEIGHTS_DIR.glob("*.onnx")), ids=lambda file: file.name)
def test_a_shipped_graph_names_no_file_of_the_machine_it_was_made_on(file: Path) -> None:
    assert b".py" not in file.read_bytes()


class Fickle(torch.nn.Module):
    """Answers something else in torch than in the graph that was traced from it."""

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb * 2 if torch.compiler.is_exporting() else rgb * 3


def _example() -> dict[str, torch.Tensor]:
    return {"rgb": torch.rand(2, 3, 8, 8)}


def test_an_exported_graph_takes_any_number_of_faces(tmp_path: Path) -> None:
    target = tmp_path / "doubler.onnx"
    assert export_graph(Graph(Doubler(), _example(), ("embedding",)), target) <= ALLOWED
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for faces in (1, 5):
        rgb = np.ones((faces, 3, 8, 8), dtype=np.float32)
        assert np.array_equal(session.run(None, {"rgb": rgb})[0], 2 * rgb)


def test_a_graph_that_differs_from_torch_is_not_published(tmp_path: Path) -> None:
    target = tmp_path / "fickle.onnx"
    with pytest.raises(ExportError, match=r"fickle.onnx differs"):
        export_graph(Graph(Fickle(), _example(), ("embedding",)), target)
    assert not target.exists()
