"""The detector's training: canvases that keep their labels, the loss, the loop, the export."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from face_models import detect
from face_models.align import TEMPLATE_112, similarity
from face_models.detect import STRIDES, Detection, Detector
from face_models.landmarks import (
    CROP_PX,
    EYE_DISTANCE_PX,
    LOOKS,
    MIRRORED_LANDMARKS,
    TEMPLATE,
    LandmarkReader,
    in_photo,
)
from face_models.training.detector import agreement, canvas, landmark_lesson, scenes
from face_models.training.detector.evaluate import FACELESS, evaluate
from face_models.training.detector.export import export, write_detector, write_landmarks
from face_models.training.detector.landmark_crops import (
    aligned_crop_of,
    crop_of,
    portraits_of,
)
from face_models.training.detector.landmark_network import LandmarkNetwork
from face_models.training.detector.learner import Learner, Losses, new_learner, take_step
from face_models.training.detector.loss import Targets, detection_loss
from face_models.training.detector.measure import (
    SceneReport,
    average_precision,
    band,
    errors_by_face,
    report,
)
from face_models.training.detector.network import DetectorNetwork
from face_models.training.detector.photos import LabelledPhoto, Labels, Rgb, halved, read_photos
from face_models.training.detector.settings import read_settings, settings_from
from face_models.training.detector.start import missing, start_from
from face_models.training.detector.tables import draw_recall, write_markdown
from face_models.training.detector.train import DetectorLesson, train

pytestmark = pytest.mark.training

CONFIG = Path(__file__).parents[3] / "models" / "configs" / "detector.toml"
TINY_TRAINING = {
    "seed": 1, "batch": 2, "steps": 2, "minutes": 5.0, "learning_rate": 1e-3,
    "weight_decay": 0.0, "warmup_steps": 1, "ema_decay": 0.9, "measure_every": 1,
}  # fmt: skip
TINY = {
    "start": {"graph": ""},
    "network": {"widths": [4, 4, 8, 8, 8], "depths": [1, 1, 1, 1], "neck": 8},
    "canvas": tomllib.loads(CONFIG.read_text())["canvas"] | {"side_px": 64, "face_px": [12, 60]},
    "training": TINY_TRAINING,
    "landmarks": TINY_TRAINING,
    "crops": {"aligned_share": 0.5},
}
SETTINGS = settings_from(TINY)
MARKS = np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], np.float32)


def marked_photo() -> LabelledPhoto:
    """A "face" of five bright dots on black, each of its own colour."""
    rgb = np.zeros((100, 100, 3), np.uint8)
    for (x, y), colour in zip(MARKS.astype(int), colours(), strict=True):
        rgb[y - 2 : y + 2, x - 2 : x + 2] = colour
    boxes = np.array([[30, 30, 40, 40]], np.float32)
    return LabelledPhoto(boxes, MARKS[None], np.ones(1, np.float32), halved(rgb))


def colours() -> list[tuple[int, int, int]]:
    return [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def tiny_network() -> DetectorNetwork:
    torch.manual_seed(1)
    return DetectorNetwork(SETTINGS.network).eval()


@pytest.fixture(scope="module")
def data_dir(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled photos of noise, half of them for validation, beside aligned faces."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").symlink_to(data_dir / "train")
    (folder / "detect").mkdir()
    random = np.random.default_rng(4)
    rows = [photo_row(random, "train" if i % 2 else "val") for i in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "detect" / "photos.parquet")
    return folder


def photo_row(random: np.random.Generator, split: str) -> dict[str, object]:
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (80, 96, 3), dtype=np.uint8)).save(buffer, "WEBP")
    return {
        "image": buffer.getvalue(), "width": 96, "height": 80, "split": split, "scores": [0.9],
        "boxes_xywh": [20.0, 10.0, 40.0, 50.0],
        "landmarks_xy": [30.0, 30, 50, 30, 40, 40, 32, 50, 48, 50],
    }  # fmt: skip


def test_the_shipped_config_is_read() -> None:
    assert read_settings(CONFIG).network.widths[0] > 0


@pytest.mark.parametrize("table", list(TINY))
def test_an_unknown_key_of_the_config_is_refused_by_name(table: str) -> None:
    with pytest.raises(TypeError, match="colour"):
        settings_from(TINY | {table: TINY[table] | {"colour": 1}})


def test_an_unknown_table_of_the_config_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="extras"):
        settings_from(TINY | {"extras": {}})


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_landmarks_stay_on_their_features(scale: float, mirrored: bool) -> None:
    """Wherever a photo is put on a canvas, the pixel under a landmark has the landmark's colour."""
    photo = marked_photo()
    linear = canvas.turned(scale, 0.4, mirrored=mirrored)
    matrix = canvas.through(linear, (50, 50), (100, 100))
    rgb = canvas.warped(photo, matrix, np.zeros((200, 200, 3), np.uint8))
    (marks,) = canvas.visible_faces(photo, matrix, 200, 200).landmarks
    order = MIRRORED_LANDMARKS if mirrored else range(5)
    for (x, y), feature in zip(marks, order, strict=True):
        seen = rgb[round(y - 0.5), round(x - 0.5)].astype(int)
        assert np.abs(seen - colours()[feature]).max() < 120


def test_a_mirrored_face_keeps_its_right_on_the_images_left() -> None:
    matrix = canvas.through(canvas.turned(1.0, 0.0, mirrored=True), (50, 50), (50, 50))
    (marks,) = canvas.visible_faces(marked_photo(), matrix, 100, 100).landmarks
    assert marks[0, 0] < marks[1, 0]
    assert marks[3, 0] < marks[4, 0]


def test_a_box_turned_upside_down_keeps_its_size() -> None:
    matrix = canvas.through(canvas.turned(1.0, np.pi), (50, 50), (50, 50))
    assert canvas.placed_boxes(marked_photo().boxes, matrix) == pytest.approx(
        np.array([[30, 30, 70, 70]]), abs=1e-3
    )


@pytest.mark.parametrize(("shift", "faces", "found"), [(0, 1, 1), (45, 1, 0), (65, 0, 0)])
def test_a_face_half_outside_may_be_missed_and_one_outside_is_gone(
    shift: int, faces: int, found: int
) -> None:
    matrix = canvas.through(canvas.turned(1.0, 0.0), (0, 0), (-shift, 0))
    visible = canvas.visible_faces(marked_photo(), matrix, 100, 100)
    assert (len(visible.boxes), visible.found.sum()) == (faces, found)


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_cells_cover_the_canvas_exactly(count: int) -> None:
    covered = np.zeros((64, 64), int)
    for x, y, width, height in canvas.cells_of(64, count, np.random.default_rng(count)):
        covered[y : y + height, x : x + width] += 1
    assert (covered == 1).all()


def test_a_canvas_follows_from_its_seed() -> None:
    composer = canvas.Composer([marked_photo()], SETTINGS.canvas)
    first, again, other = (composer.compose(np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert (first.rgb == again.rgb).all()
    assert (first.rgb != other.rgb).any()


def perfect_levels(
    box: tuple[float, float, float, float], side: int = 64
) -> tuple[torch.Tensor, ...]:
    """All cells place the same face perfectly; only those inside it say so."""
    x1, y1, x2, y2 = box
    levels = []
    for stride in STRIDES:
        at = (torch.arange(side // stride) + 0.5) * stride
        y, x = torch.meshgrid(at, at, indexing="ij")
        level = torch.zeros(1, detect.ANSWERS_PER_CELL, *x.shape)
        inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
        level[0, 0] = torch.where(inside, 9.0, -9.0)
        level[0, 1], level[0, 2] = ((x1 + x2) / 2 - x) / stride, ((y1 + y2) / 2 - y) / stride
        level[0, 3], level[0, 4] = np.log((x2 - x1) / stride), np.log((y2 - y1) / stride)
        level[0, 5::2], level[0, 6::2] = (x1 - x) / stride, (y1 - y) / stride
        levels.append(level)
    return tuple(levels)


def targets_at(box: tuple[float, float, float, float], *, ignored: bool = False) -> Targets:
    corner = torch.tensor(box[:2]).repeat(5)
    return Targets(
        boxes=torch.tensor([[box, (0.0, 0.0, 0.0, 0.0)]]),
        landmarks=torch.stack([corner, torch.zeros(10)])[None],
        real=torch.tensor([[not ignored, False]]),
        ignored=torch.tensor([[ignored, False]]),
    )


def test_perfect_answers_cost_nothing_but_doubt() -> None:
    loss = detection_loss(
        perfect_levels((8.0, 8.0, 24.0, 24.0)), targets_at((8.0, 8.0, 24.0, 24.0))
    )
    assert loss.box.item() == pytest.approx(0, abs=1e-5)
    assert loss.landmark.item() == pytest.approx(0, abs=1e-5)
    assert loss.score.item() < 0.05


def test_a_shifted_face_costs_more_in_every_part() -> None:
    levels = perfect_levels((8.0, 8.0, 24.0, 24.0))
    right, wrong = (
        detection_loss(levels, targets_at(box))
        for box in ((8.0, 8.0, 24.0, 24.0), (14.0, 8.0, 30.0, 24.0))
    )
    assert wrong.box > right.box
    assert wrong.landmark > right.landmark
    assert wrong.score > right.score


def test_a_face_that_may_be_missed_may_also_be_found() -> None:
    box = (8.0, 8.0, 24.0, 24.0)
    assert detection_loss(perfect_levels(box), targets_at(box, ignored=True)).score.item() < 0.1


def test_a_photo_without_faces_gives_a_finite_loss_that_trains() -> None:
    network = tiny_network().train()
    targets = Targets(
        torch.zeros(2, 1, 4), torch.zeros(2, 1, 10),
        torch.zeros(2, 1, dtype=torch.bool), torch.zeros(2, 1, dtype=torch.bool),
    )  # fmt: skip
    loss = detection_loss(network(torch.zeros(2, 3, 64, 64)), targets)
    loss.total.backward()
    assert torch.isfinite(loss.total)


def test_steps_on_one_canvas_lower_the_loss() -> None:
    lesson = DetectorLesson(FixedComposer([marked_photo()], SETTINGS.canvas), [])
    learner = long_learner(tiny_network())
    losses = [take_step(learner, lesson).total.item() for _ in range(12)]
    assert min(losses[-3:]) < 0.9 * losses[0]


def long_learner(network: torch.nn.Module) -> Learner:
    """Far from the end of its schedule."""
    return new_learner(network, replace(SETTINGS.training, steps=1000))


class FixedComposer(canvas.Composer):
    def compose(self, random: np.random.Generator) -> canvas.Canvas:
        return super().compose(np.random.default_rng(3))


def test_a_run_measures_saves_and_goes_on_where_it_stopped(data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "detector.toml"
    config.write_text(as_toml(TINY))
    train(config, data_dir, tmp_path / "run")
    config.write_text(as_toml(TINY | {"training": TINY["training"] | {"steps": 3}}))
    checkpoint = train(config, data_dir, tmp_path / "run")
    with (tmp_path / "run" / "detector-measured.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert torch.load(tmp_path / "run" / "landmarks.pt", weights_only=True)["step"] == 2
    assert torch.load(checkpoint, weights_only=True)["step"] == 3
    measured = evaluate(export(checkpoint, tmp_path / "detector.onnx"), data_dir, "val")
    assert (measured.photos, measured.faces) == (4, 4)
    assert isinstance(measured, SceneReport)
    assert [row.faces for row in measured.by_size] == [4] * len(scenes.FACE_HEIGHTS_PX)
    assert [row.faces for row in measured.by_share] == [4] * len(scenes.PORTRAIT_SHARES)
    write_markdown(measured, tmp_path / "report.md")
    draw_recall(measured, tmp_path / "recall.svg")
    told = (tmp_path / "report.md").read_text()
    assert "75% of a portrait" in told
    assert "turned by 90°" in told
    assert (tmp_path / "recall.svg").stat().st_size > 0


def as_toml(tables: dict[str, dict[str, object]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {value!r}" for key, value in table.items())
        for name, table in tables.items()
    )


def test_the_exported_graph_answers_as_the_network_does_at_any_size(tmp_path: Path) -> None:
    network = tiny_network()
    write_detector(network, tmp_path / "tiny.onnx")
    write_landmarks(LandmarkNetwork(), tmp_path / "landmarks.onnx")
    detector = Detector(tmp_path / "tiny.onnx", score_threshold=0.005)
    random = np.random.default_rng(9)
    for width, height in ((96, 64), (320, 320), (500, 210)):
        view = detect.view_of(random.integers(0, 256, (height, width, 3), dtype=np.uint8), 224)
        with torch.no_grad():
            levels = network(torch.from_numpy(detect.network_input(view.canvas)))
        expected = detect.faces_in(view, [level[0].numpy() for level in levels], 0.005)
        found = detector.look(view)
        assert len(found) == len(expected) > 0
        assert found[0].box == pytest.approx(expected[0].box, rel=1e-3, abs=1e-2)
        assert found[0].landmarks == pytest.approx(expected[0].landmarks, rel=1e-3, abs=1e-2)


def test_photos_are_read_by_split(data_dir: Path) -> None:
    photos = read_photos(data_dir, "val")
    assert len(photos) == 4
    assert photos[0].corners.tolist() == [[20, 10, 60, 60]]
    assert [half.shape for half in photos[0].halves[:2]] == [(80, 96, 3), (40, 48, 3)]


def found_at(x: float, score: float) -> Detection:
    return Detection((x, 0.0, 10.0, 10.0), score, np.zeros((5, 2), np.float32))


def labels_at(*places: float) -> Labels:
    boxes = np.array([[x, 0, 10, 10] for x in places], np.float32)
    marks = np.zeros((len(places), 5, 2), np.float32)
    marks[:, 1, 0] = 4.0
    return Labels(boxes, marks)


def test_a_face_found_twice_counts_once() -> None:
    twice = [[found_at(0, 0.9), found_at(1, 0.8)]]
    measured = report([labels_at(0)], twice, twice)
    assert measured.served_recall == 1
    assert measured.served_false_alarms_per_photo == 1
    assert measured.average_precision == 1


def test_recall_is_read_at_the_allowed_rate_of_false_alarms() -> None:
    labels = [labels_at(0) for _ in range(10)]
    seen = [[found_at(0, 0.9 - i / 100)] for i in range(8)] + [[found_at(50, 0.5)], []]
    measured = report(labels, seen, seen)
    assert measured.recall == pytest.approx(0.8)
    assert measured.recall_threshold == pytest.approx(0.5)


def test_the_landmark_error_is_relative_to_the_eyes() -> None:
    seen = [[found_at(0, 0.9)]]
    assert report([labels_at(0)], seen, seen).landmark_error == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("hits", "faces", "expected"),
    [
        pytest.param([True, True], 2, 1.0, id="all found"),
        pytest.param([True, False, True], 2, (1 + 2 / 3) / 2, id="a false alarm between"),
        pytest.param([True], 4, 0.25, id="three missed"),
        pytest.param([], 4, 0.0, id="nothing said"),
    ],
)
def test_average_precision_is_the_area_under_the_curve(
    hits: list[bool], faces: int, expected: float
) -> None:
    assert average_precision(np.array(hits, bool), faces) == pytest.approx(expected)


def test_however_a_face_is_misplaced_its_right_stays_on_the_images_left() -> None:
    (portrait,) = portraits_of([marked_photo()])
    for seed in range(5):
        crop = crop_of(portrait, np.random.default_rng(seed))
        at = TEMPLATE + crop.offsets.reshape(5, 2) * EYE_DISTANCE_PX
        assert (np.abs(at - TEMPLATE) < CROP_PX).all()
        assert at[0, 0] < at[1, 0]
        assert at[3, 0] < at[4, 0]


class EveryLabelIsFound:
    """In the detector's place: the labelled faces themselves."""

    def __init__(self, _weights: Path) -> None: ...

    def search(self, _rgb: Rgb) -> list[Detection]:
        return [Detection((30, 30, 40, 40), 0.9, MARKS)]


class Shifted:
    """A reader that is wrong by its name's number of pixels, to the right."""

    def __init__(self, weights: Path) -> None:
        self._shift = np.float32([float(weights.stem), 0])

    def read(self, _rgb: Rgb, rough: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [points + self._shift for points in rough]


def test_two_readers_that_agree_show_what_the_labels_are_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "Detector", EveryLabelIsFound)
    monkeypatch.setattr(agreement, "LandmarkReader", Shifted)
    monkeypatch.setattr(agreement, "LANDMARKS_FILE", "4.onnx")
    found = agreement.agreement(Path("detector.onnx"), Path("5.onnx"), [marked_photo()])
    assert asdict(found) == pytest.approx(
        {"faces": 1, "first_from_labels": 0.2, "second_from_labels": 0.25, "apart": 0.05}
    )


def test_a_detector_that_was_trained_alone_leaves_the_landmarks_as_they_are(
    tmp_path: Path,
) -> None:
    learner = new_learner(tiny_network(), SETTINGS.training)
    learner.save(tmp_path / "detector.pt", asdict(SETTINGS))
    export(tmp_path / "detector.pt", tmp_path / "detector.onnx")
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["detector.onnx"]


def test_the_exported_landmark_network_answers_as_in_training(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = LandmarkNetwork().eval()
    write_landmarks(network, tmp_path / "landmarks.onnx")
    photo = marked_photo()
    (read,) = LandmarkReader(tmp_path / "landmarks.onnx").read(photo.rgb, [MARKS])
    (portrait,) = portraits_of([photo])
    matrix = portrait.matrix
    for _ in range(LOOKS):
        crop = canvas.warped(photo, matrix, np.zeros((CROP_PX, CROP_PX, 3), np.uint8))
        with torch.no_grad():
            offsets = network(torch.from_numpy(crop.transpose(2, 0, 1)[None].copy()))[0].numpy()
        expected = in_photo(offsets, matrix)
        matrix = similarity(expected, TEMPLATE).astype(np.float32)
    assert read == pytest.approx(expected, abs=0.1)


def test_alignment_by_true_landmarks_is_perfect_and_by_others_is_off() -> None:
    (portrait,) = portraits_of([marked_photo()])
    crops = [crop_of(portrait, np.random.default_rng(seed)) for seed in range(4)]
    batch = landmark_lesson.batch_of(crops)
    perfect = landmark_lesson.misaligned(batch.offsets, batch.places)
    assert perfect.abs().max() < 1e-4
    shifted = landmark_lesson.misaligned(batch.offsets + 0.1, batch.places)
    assert shifted.abs().mean() > 0.01


def test_the_alignment_in_the_loss_is_the_one_that_is_served() -> None:
    random = np.random.default_rng(3)
    offsets, places = (random.normal(0, 0.1, (1, 10)).astype(np.float32) for _ in range(2))
    points, target = (TEMPLATE + o.reshape(5, 2) * EYE_DISTANCE_PX for o in (offsets, places))
    served = canvas.placed_points(target, similarity(points, TEMPLATE).astype(np.float32))
    in_loss = landmark_lesson.misaligned(torch.from_numpy(offsets), torch.from_numpy(places))
    expected = ((served - TEMPLATE) / EYE_DISTANCE_PX).reshape(1, 10)
    assert in_loss.numpy() == pytest.approx(expected, abs=1e-4)


def test_an_aligned_face_tells_only_where_its_alignment_lies() -> None:
    """Five dots on the template's points lie where the crop's label says, mirrored or not."""
    face = np.zeros((112, 112, 3), np.uint8)
    for x, y in TEMPLATE_112.astype(int):
        face[y - 2 : y + 3, x - 2 : x + 3] = 255
    for seed in range(6):
        crop = aligned_crop_of(face, np.random.default_rng(seed))
        assert crop.offsets is None
        levels = crop.rgb.astype(float).mean(axis=2)
        points = TEMPLATE + crop.places.reshape(5, 2) * EYE_DISTANCE_PX
        at_points = [levels[round(y - 0.5), round(x - 0.5)] for x, y in points]
        assert min(at_points) > np.median(levels) + 20


def test_a_network_goes_on_from_its_exported_graph(tmp_path: Path) -> None:
    """It answers as the graph does, and training finds its channels normalised."""
    write_detector(tiny_network(), tmp_path / "tiny.onnx")
    torch.manual_seed(5)
    network = DetectorNetwork(SETTINGS.network)
    canvases = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    start_from(network, tmp_path / "tiny.onnx", canvases)
    with torch.no_grad():
        again, before = network(canvases), tiny_network()(canvases)
        for one, other in zip(again, before, strict=True):
            assert one.numpy() == pytest.approx(other.numpy(), abs=1e-4)
        for one, other in zip(network.train()(canvases), before, strict=True):
            assert one.numpy() == pytest.approx(other.numpy(), abs=1e-2)


def test_faces_that_were_missed_are_drawn_more_often() -> None:
    easy, hard = marked_photo(), marked_photo()
    settings = replace(SETTINGS.canvas, hard_share=1.0)
    composer = canvas.Composer([easy, hard], settings, [np.array([0.1]), np.array([1.0])])
    random = np.random.default_rng(1)
    drawn = [composer._any_face(random)[0] is hard for _ in range(200)]
    assert sum(drawn) > 180


def test_a_missed_face_is_as_hard_as_can_be() -> None:
    photo = marked_photo()
    assert missing(photo, []).tolist() == [1]
    near = Detection((31.0, 30.0, 40.0, 40.0), 0.8, MARKS)
    assert missing(photo, [near]) == pytest.approx([0.2])


def test_scenes_show_the_face_as_high_as_they_say_and_follow_from_their_seed() -> None:
    sitters = scenes.sitters_of([marked_photo()])
    for height in scenes.FACE_HEIGHTS_PX:
        first, again = (
            next(scenes.scenes_of_size(sitters, height, np.random.default_rng(7))) for _ in "12"
        )
        assert (first[0] == again[0]).all()
        assert first[1].boxes[0, 3] == pytest.approx(height, rel=0.01)


def test_everybody_in_a_crowd_is_asked_for() -> None:
    sitters = scenes.sitters_of([marked_photo()] * 9)
    ((rgb, labels),) = scenes.crowds_of(sitters, 9, np.random.default_rng(2))
    assert rgb.shape == (640, 640, 3)
    assert len(labels.boxes) == 9


def test_faces_of_doubtful_label_are_no_sitters() -> None:
    assert scenes.sitters_of([replace(marked_photo(), scores=np.array([0.7]))]) == []


def test_a_band_counts_whom_it_missed() -> None:
    labels = labels_at(0, 50)
    errors = errors_by_face(labels, [found_at(0, 0.9)])
    figures = band("two", errors)
    assert (figures.faces, figures.recall) == (2, 0.5)
    assert figures.recall_low < 0.5 < figures.recall_high
    assert figures.median_landmark_error == pytest.approx(1 / 5)


@pytest.mark.parametrize("kind", list(FACELESS))
def test_drawn_pictures_have_the_asked_size_and_differ(kind: str) -> None:
    first, other = (FACELESS[kind](64, 48, np.random.default_rng(seed)) for seed in (1, 2))
    assert first.shape == (48, 64, 3)
    assert (first != other).any()


class OneNumber(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.ones(1))


class Shrink:
    """A lesson that any optimiser can learn: a number should be 0."""

    name = "shrink"

    def losses(self, network: OneNumber, count: int, random: np.random.Generator) -> Losses:
        return Losses(network.number.square().sum(), {})


def test_the_average_follows_the_network_from_behind() -> None:
    learner = long_learner(OneNumber())
    for _ in range(20):
        take_step(learner, Shrink())
    assert learner.network.number.item() < learner.average.number.item() < 1
