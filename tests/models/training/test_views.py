"""Views that the teacher answered: made from their seed, kept, gone on with after a kill."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from face_models.training import data, views
from face_models.training.views import Views, ViewSettings, answer_views, make_views

pytestmark = pytest.mark.training

SETTINGS = ViewSettings(seed=3, batches=3, batch=4)


@pytest.fixture
def faces(data_dir: Path, tmp_path: Path) -> data.FaceSet:
    return data.load(data_dir, tmp_path, "train")


@pytest.fixture
def teacher_dir(tmp_path: Path) -> Path:
    """A teacher that answers with the mean of each colour and zeros: (n, 128)."""
    folder = tmp_path / "teaching"
    (folder / "teacher").mkdir(parents=True)
    pads = helper.make_tensor("pads", TensorProto.INT64, [4], [0, 0, 0, 125])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    nodes = [
        helper.make_node("ReduceMean", ["rgb", "axes"], ["mean"], keepdims=0),
        helper.make_node("Pad", ["mean", "pads"], ["wide"]),
        helper.make_node("LpNormalization", ["wide"], ["embedding"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["n", 3, 112, 112])]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 128])]
    graph = helper.make_graph(nodes, "teacher", inputs, outputs, [pads, axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / views.TEACHER_FILE)
    return folder


def _answered(faces: data.FaceSet, teacher_dir: Path, cache: Path) -> Views:
    cache.mkdir(exist_ok=True)
    return answer_views(faces, SETTINGS, teacher_dir, cache)


def test_a_view_batch_is_the_same_at_every_call(faces: data.FaceSet) -> None:
    assert np.array_equal(make_views(faces, SETTINGS, 1), make_views(faces, SETTINGS, 1))
    assert not np.array_equal(make_views(faces, SETTINGS, 1), make_views(faces, SETTINGS, 2))


def test_the_teacher_answers_exactly_the_view_that_is_kept(
    faces: data.FaceSet, teacher_dir: Path, tmp_path: Path
) -> None:
    pixels, answers = _answered(faces, teacher_dir, tmp_path / "c").take(np.arange(12))
    means = pixels.mean(axis=(1, 2))
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    assert np.abs(answers[:, :3] - expected).max() < 2e-3  # float16


def test_a_killed_run_goes_on_where_it_stood(
    faces: data.FaceSet, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _answered(faces, teacher_dir, tmp_path / "c")
    before = whole.teacher.copy()
    whole.teacher[1:] = np.nan
    made: list[int] = []

    def noted(*arguments: object) -> object:
        made.append(int(arguments[2]))  # type: ignore[call-overload]
        return make_views(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(views, "make_views", noted)
    again = _answered(faces, teacher_dir, tmp_path / "c")
    assert made == [1, 2]
    assert np.array_equal(again.teacher, before)


def test_of_two_processes_that_want_the_answers_one_asks(
    faces: data.FaceSet, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def noted(*arguments: object) -> object:
        if not made:  # in the middle of the first one's work the second comes
            second.append(pool.submit(_answered, faces, teacher_dir, tmp_path / "c"))
            assert not wait(second, timeout=0.2).done
        made.append(int(arguments[2]))  # type: ignore[call-overload]
        return make_views(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(views, "make_views", noted)
    second: list[Future[Views]] = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(_answered, faces, teacher_dir, tmp_path / "c").result()
        assert np.array_equal(second[0].result().teacher, first.teacher)
    assert made == [0, 1, 2]
