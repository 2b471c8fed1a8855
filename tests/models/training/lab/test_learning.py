"""Networks of the laboratory: they learn, go on where they stopped, and see maps that are true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from face_models.training import starts
from face_models.training.checkpoint import Trained, load_trained
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab import learning, maps, sight
from face_models.training.lab import shelf as shelf_module
from face_models.training.lab.answers import FORMS
from face_models.training.lab.arms import ARMS
from face_models.training.lab.learning import CURVE_FILE, NETWORK_FILE, Task
from face_models.training.lab.photos import LIGHTS, Photos
from face_models.training.lab.run import work
from face_models.training.lab.settings import Lesson
from face_models.training.lab.shelf import Busy, Shelf, listing
from face_models.training.lab.sources import drawn
from face_models.training.lab.sources.crop import square_crop
from face_models.training.lab.sources.drawn_teacher import write_teacher
from face_models.training.network import FaceNetwork
from face_models.training.pixels import enlarged
from face_models.training.provenance import current_commit

pytestmark = pytest.mark.training

BACKBONE = "shufflenet_v2_x1_0"
PX = 64


@pytest.fixture(scope="module")
def photos() -> Photos:
    return _drawn({light: light for light in LIGHTS})


def _drawn(lit_as: Mapping[str, str]) -> Photos:
    """Three people, three photos in each light; `lit_as`: the light that they are drawn in."""
    crops, people, lights = [], [], []
    for person in range(3):
        for light in LIGHTS:
            for n in range(3):
                random = np.random.default_rng((person, LIGHTS.index(light), n))
                look = drawn.look_of(f"drawn {person}")
                rgb, box, _ = drawn.draw(look, lit_as[light], random)
                crops.append(square_crop(rgb, box, PX))
                people.append(person)
                lights.append(light)
    names = np.array([f"photo {n}" for n in range(len(crops))])
    face = (0.0, 0.0, 1.0, 1.0)
    return Photos(np.stack(crops), np.array(people), np.array(lights), names, face)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.manual_seed(3)
    centres = torch.nn.functional.normalize(torch.randn(3, 128))
    return Trained(BACKBONE, FaceNetwork(BACKBONE).eval(), centres)


def _task(photos: Photos, arm: str = "base", epochs: int = 2, **more: object) -> Task:
    lesson = Lesson(epochs=epochs, batch=6, peak_learning_rate=2e-3)
    task = Task(photos, photos.to_learn(), photos.to_validate(0, 0), lesson, ARMS[arm], seed=1)
    return replace(task, **more)  # type: ignore[arg-type]


class Killed(Exception):
    """Stands for a process that dies in the middle of a run."""


def test_drawn_people_are_recognised_on_photos_that_were_not_learnt(tmp_path: Path) -> None:
    """In the light that was learnt: how much of it holds in the dark is luck with so few photos."""
    photos = _drawn({"bright": "bright", "medium": "medium", "dark": "medium"})
    learning.learn(_task(photos, epochs=30), BACKBONE, "random", tmp_path)
    curve = json.loads((tmp_path / CURVE_FILE).read_text())["macro_f1"]
    assert len(curve) == 30
    assert curve[-1] > 0.9  # by chance: a third at best


def test_a_resumed_lesson_ends_as_an_unbroken_one(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unbroken").mkdir()
    (tmp_path / "broken").mkdir()
    task = _task(photos, epochs=3)
    learning.learn(task, BACKBONE, "random", tmp_path / "unbroken")
    with monkeypatch.context() as broken:
        real = learning._one_epoch

        def die_in_the_third(learner: object, task: Task, epoch: int) -> None:
            if epoch == 2:
                raise Killed
            real(learner, task, epoch)  # type: ignore[arg-type]

        broken.setattr(learning, "_one_epoch", die_in_the_third)
        with pytest.raises(Killed):
            learning.learn(task, BACKBONE, "random", tmp_path / "broken")
    learning.learn(task, BACKBONE, "random", tmp_path / "broken")
    curves = [(tmp_path / name / CURVE_FILE).read_text() for name in ("unbroken", "broken")]
    assert curves[0] == curves[1]
    ours, theirs = (load_trained(tmp_path / n / NETWORK_FILE) for n in ("unbroken", "broken"))
    weights = theirs.network.state_dict()
    for name, weight in ours.network.state_dict().items():
        assert torch.allclose(weight, weights[name], atol=1e-6), name


def test_a_kept_start_is_the_network_in_half_precision(base: Trained, tmp_path: Path) -> None:
    file = starts.keep(base, tmp_path)
    rgb = 255 * torch.rand(2, 3, PX, PX)
    with torch.no_grad():
        ours = learning.start_network(BACKBONE, file, heat=False).eval()(rgb)
        expected = base.network(rgb)
    assert file.name == f"start-{BACKBONE}.safetensors"
    assert torch.nn.functional.cosine_similarity(ours, expected).min() > 0.999


def test_a_start_of_backbone_weights_alone_fills_the_trunk(base: Trained, tmp_path: Path) -> None:
    trunk = base.network.trunk.state_dict()
    save_file({name: weight.contiguous() for name, weight in trunk.items()}, tmp_path / "trunk")
    network = learning.start_network(BACKBONE, tmp_path / "trunk", heat=False)
    for name, weight in network.trunk.state_dict().items():
        torch.testing.assert_close(weight, trunk[name])


def test_weights_of_another_backbone_are_no_start(base: Trained, tmp_path: Path) -> None:
    starts.keep(base, tmp_path)
    with pytest.raises(UnusableInput, match=r"no start of this backbone: it has trunk\.conv1"):
        learning.start_network("mobilenet_v3_large", starts.file_of(BACKBONE, tmp_path), heat=False)
    save_file({"conv1.0.weight": torch.zeros(24, 3, 3, 3)}, tmp_path / "few")
    with pytest.raises(UnusableInput, match="too few"):
        learning.start_network(BACKBONE, tmp_path / "few", heat=False)


def test_all_arms_of_a_seed_see_the_same_photos_mirrored_alike(photos: Photos) -> None:
    heats = np.random.default_rng(0).random((len(photos.name), PX, PX)).astype(np.float16)
    base_task, heat_task = _task(photos), _task(photos, "heatmap-dropout", heats=heats)
    for ours, theirs in zip(
        learning._batches(base_task, 1), learning._batches(heat_task, 1), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
        rgb, nothing = learning._lesson_batch(base_task, ours, np.random.default_rng(5))
        same, heat = learning._lesson_batch(heat_task, theirs, np.random.default_rng(5))
        assert nothing is None
        assert heat is not None
        assert torch.equal(rgb, same)


def test_a_mirrored_photos_map_is_mirrored_and_a_dropped_one_is_zeros(photos: Photos) -> None:
    side = np.zeros((len(photos.name), PX, PX), np.float16)
    side[:, :, : PX // 2] = 1
    rows = np.repeat(photos.to_learn(), 10)
    task = _task(photos, "heatmap-dropout", heats=side)
    rgb, heat = learning._lesson_batch(task, rows, np.random.default_rng(2))
    assert heat is not None
    plain = enlarged(np.asarray(photos.pixels[rows]), PX)
    mirrored = (rgb != plain).flatten(1).any(dim=1)
    dropped = heat.flatten(1).amax(dim=1) == 0
    assert dropped.float().mean() == pytest.approx(task.arm.dropout, abs=0.1)
    left = heat[:, 0, 0, 0] == 1
    assert torch.equal(left[~dropped], ~mirrored[~dropped])


def test_half_of_the_photos_of_a_noisy_lesson_are_noisy(photos: Photos) -> None:
    rows = np.repeat(photos.to_learn(), 10)
    task = _task(photos, "noisy-base")
    task = replace(task, lesson=replace(task.lesson, mirror_chance=0.0))
    rgb, _ = learning._lesson_batch(task, rows, np.random.default_rng(2))
    changed = (rgb != enlarged(np.asarray(photos.pixels[rows]), PX)).flatten(1).any(dim=1)
    assert changed.float().mean() == pytest.approx(0.5, abs=0.1)


def test_maps_from_disk_are_those_drawn_on_the_fly(
    photos: Photos, base: Trained, tmp_path: Path
) -> None:
    rows = np.array([4, 9, 20])
    learning.precompute(sight.of_network(base), photos, rows, tmp_path / "maps.npy")
    kept = np.load(tmp_path / "maps.npy")
    heat = sight.of_network(base)(enlarged(np.asarray(photos.pixels[rows]), PX))
    assert heat is not None
    assert kept.shape == (len(photos.name), PX, PX)
    np.testing.assert_allclose(kept[rows], heat[:, 0].numpy(), atol=1e-3)
    assert kept[5].max() == 0


def test_the_heatmap_network_starts_as_its_base_with_a_wider_first_layer(
    photos: Photos, tmp_path: Path
) -> None:
    learning.learn(_task(photos, epochs=1), BACKBONE, "random", tmp_path)
    start = load_trained(tmp_path / NETWORK_FILE).network
    wide = learning.start_network(BACKBONE, tmp_path, heat=True)
    ours, theirs = wide.state_dict(), start.state_dict()
    first = next(name for name, weight in ours.items() if weight.ndim == 4)
    assert ours[first].shape[1] == 4
    torch.testing.assert_close(ours[first][:, :3], theirs[first])
    torch.testing.assert_close(ours[first][:, 3], theirs[first].mean(dim=1))
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - {first}:
        torch.testing.assert_close(ours[name], theirs[name])


def test_the_teachers_last_map_is_affine_to_its_embedding(tmp_path: Path, photos: Photos) -> None:
    """What its heatmap's closed form rests on: slope and bias give the embedding back."""
    file = tmp_path / "teacher.onnx"
    write_teacher(file, seed=2)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    embedding, features = sight._answers(session, enlarged(np.asarray(photos.pixels[:5]), PX))
    slope = sight._slope(file, threads=1)
    tail, shape = sight._tail(file, threads=1)
    plain = torch.einsum("nchw,dchw->nd", features, slope) + torch.from_numpy(
        tail(np.zeros((1, *shape), np.float32))
    )
    unit = torch.nn.functional.normalize(plain)
    torch.testing.assert_close(unit, embedding, atol=1e-4, rtol=1e-3)


def test_the_teacher_draws_a_map_from_zero_to_one(tmp_path: Path, photos: Photos) -> None:
    write_teacher(tmp_path / "teacher.onnx", seed=2)
    draw = sight.of_teacher(tmp_path / "teacher.onnx", photos, photos.to_learn(), 1)
    heat = draw(enlarged(np.asarray(photos.pixels[:4]), PX))
    assert heat is not None
    assert heat.shape == (4, 1, PX, PX)
    assert (heat.min() >= 0, heat.max() <= 1) == (True, True)
    assert (heat[0] != heat[3]).any()


@pytest.mark.parametrize(
    ("form", "expected"),
    [("normal", [0.1, 0.2, 0.3]), ("zero", [0, 0, 0]), ("shuffle", [0.3, 0.1, 0.2])],
)
def test_the_fourth_channel_is_told_what_the_form_says(form: str, expected: list[float]) -> None:
    heat = torch.tensor([0.1, 0.2, 0.3])[:, None, None, None].expand(3, 1, 2, 2)
    told = FORMS[form](heat, torch.Generator())
    assert torch.allclose(told[:, 0, 0, 0], torch.tensor(expected, dtype=torch.float32))


def test_a_random_map_is_even_between_zero_and_one() -> None:
    told = FORMS["random"](torch.zeros(4, 1, 50, 50), torch.Generator().manual_seed(1))
    assert told.mean() == pytest.approx(0.5, abs=0.02)
    assert told.std() == pytest.approx(12**-0.5, abs=0.01)


SPOT = slice(10, 16)


class SpotNetwork(torch.nn.Module):
    """Looks at one spot alone: white there is person 0, black person 1."""

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        level = rgb[:, :, SPOT, SPOT].mean(dim=(1, 2, 3)) / 255
        return torch.stack([level, 1 - level], dim=1)


def test_a_map_of_where_the_network_looks_is_found_faithful(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = np.zeros((2, PX, PX, 3), np.uint8)
    photos[:, SPOT, SPOT] = 255
    spot = np.asarray(photos[..., 0] / 255, np.float32)
    drawers = {"right": lambda *_: spot, "wrong": lambda *_: 1 - spot}
    monkeypatch.setattr(maps, "DRAWERS", drawers)
    network = Trained("spot", SpotNetwork(), torch.eye(2))  # type: ignore[arg-type]
    found = maps.faithfulness(network, photos)
    assert found["right"].shape == (2, 2)
    assert (found["right"][0] < found["wrong"][0] - 0.3).all()
    assert (found["right"][1] > found["wrong"][1] + 0.3).all()


def test_an_artefact_is_made_once_and_anew_of_other_ingredients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(into: Path) -> None:
        made.append(sorted(file.name for file in into.iterdir()))
        (into / "trace").touch()
        if len(made) == 1:
            raise Killed

    shelf = Shelf(tmp_path)
    with pytest.raises(Killed):
        shelf.take("network", {"seed": 1}, make)
    first, again = (shelf.take("network", {"seed": 1}, make) for _ in "12")
    other = shelf.take("network", {"seed": 2}, make)
    assert first == again != other
    assert made == [["made_of.json"], ["made_of.json", "trace"], ["made_of.json"]]
    assert '"seed": 1' in (first.folder / "made_of.json").read_text()
    assert shelf.commits == {current_commit()}
    monkeypatch.setattr(shelf_module, "VERSION", 0)
    assert shelf.take("network", {"seed": 1}, make).folder not in (first.folder, other.folder)


def test_changed_files_are_other_ingredients(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.json").write_text("1")
    before = listing(tmp_path, "one/**/*")
    assert listing(tmp_path, "one/**/*") == before
    (tmp_path / "one" / "a.json").write_text("12")
    changed = listing(tmp_path, "one/**/*")
    (tmp_path / "one" / "b.json").write_text("1")
    assert len({before, changed, listing(tmp_path, "one/**/*")}) == 3


def test_what_another_process_makes_is_left_to_it_or_waited_for(tmp_path: Path) -> None:
    impatient, made = Shelf(tmp_path, patient=False), []

    def make(into: Path) -> None:
        with pytest.raises(Busy):  # a lock is of an open file, so this stands for another process
            impatient.take("network", {"seed": 1}, made.append)
        other = impatient.take("network", {"seed": 2}, lambda into: made.append(into.name))
        assert other.folder.is_dir()

    taken = Shelf(tmp_path).take("network", {"seed": 1}, make)
    assert impatient.take("network", {"seed": 1}, made.append) == taken
    assert len(made) == 1


def test_steps_that_are_busy_come_later(tmp_path: Path) -> None:
    done: list[str] = []
    shelf = Shelf(tmp_path)

    def busy_once() -> None:
        if not shelf.patient and "other" not in done:
            raise Busy
        done.append("first")

    bench = SimpleNamespace(shelf=shelf)
    work(bench, [("first", busy_once), ("other", lambda: done.append("other"))])  # type: ignore[arg-type]
    assert done == ["other", "first"]
    assert shelf.patient
    done.clear()
    work(bench, [("first", busy_once)])  # type: ignore[arg-type]
    assert done == ["first"]  # waited for: nothing else was left to do
