"""The detector: decoding by hand-made tensors, views and their inverse, how often it looks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face_models import detect
from face_models.detect import (
    ANSWERS_PER_CELL,
    STRIDES,
    Candidates,
    Detection,
    Detector,
    Floats,
    Rgb,
    View,
)
from face_models.errors import WeightsError
from face_models.spec import WEIGHTS_DIR

PEOPLE_DIR = Path(__file__).parents[1] / "data" / "people"
SHIPPED = WEIGHTS_DIR / "detector.onnx"
NEVER, SURE = -10.0, 4.0  # logits


def silent_levels(side_px: int = 64) -> list[Floats]:
    levels = [np.zeros((ANSWERS_PER_CELL, side_px // s, side_px // s), np.float32) for s in STRIDES]
    for level in levels:
        level[0] = NEVER
    return levels


def candidates(*rows: tuple[float, float, float, float, float]) -> Candidates:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Candidates(table[:, 0], table[:, 1:], np.zeros((len(rows), 5, 2), np.float32))


def face(x: float, y: float, w: float, h: float, score: float = 0.9) -> Detection:
    return Detection((x, y, w, h), score, np.zeros((5, 2), np.float32))


def picture(width: int, height: int) -> Rgb:
    return np.full((height, width, 3), 90, np.uint8)


def test_a_cells_answer_is_read_in_pixels_of_the_network_input() -> None:
    levels = silent_levels()
    levels[1][:, 2, 1] = [SURE, 0.25, -0.5, np.log(2), np.log(3), *range(10)]
    found = detect.decode(levels, 0.5)
    assert found.scores == pytest.approx([1 / (1 + np.exp(-SURE))])
    assert found.boxes[0] == pytest.approx([28 - 16, 32 - 24, 28 + 16, 32 + 24])
    assert found.landmarks[0, 0] == pytest.approx([24, 40 + 16])
    assert found.landmarks[0, 4] == pytest.approx([24 + 8 * 16, 40 + 9 * 16])


@pytest.mark.parametrize("level", range(len(STRIDES)))
def test_every_stride_puts_a_plain_answer_on_the_middle_of_its_cell(level: int) -> None:
    levels, stride = silent_levels(), STRIDES[level]
    levels[level][0, 0, 1] = SURE
    found = detect.decode(levels, 0.5)
    assert found.boxes.tolist() == [[stride, 0, 2 * stride, stride]]


def test_cells_below_the_threshold_say_nothing() -> None:
    levels = silent_levels()
    levels[0][0, 3, 3] = 0.0
    assert len(detect.decode(levels, 0.5).scores) == 1
    assert len(detect.decode(levels, 0.51).scores) == 0


def test_an_absurd_size_stays_finite() -> None:
    levels = silent_levels()
    levels[2][:, 0, 0] = [SURE, 0, 0, 1e4, 1e4, *[0] * 10]
    assert np.isfinite(detect.decode(levels, 0.5).boxes).all()


def test_of_overlapping_candidates_the_best_stays() -> None:
    crowd = candidates((0.6, 0, 0, 10, 10), (0.9, 1, 0, 11, 10), (0.7, 50, 50, 60, 60))
    kept = detect.suppress(crowd)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])


def test_a_dropped_candidate_drops_nobody_itself() -> None:
    chain = candidates((0.9, 0, 0, 10, 10), (0.8, 4, 0, 14, 10), (0.7, 8, 0, 18, 10))
    assert detect.suppress(chain).scores.tolist() == pytest.approx([0.9, 0.7])


def test_suppression_agrees_with_the_plain_definition() -> None:
    random = np.random.default_rng(5)
    low = random.uniform(0, 80, (60, 2))
    boxes = np.concatenate([low, low + random.uniform(5, 40, (60, 2))], axis=1)
    crowd = candidates(*np.column_stack([random.random(60), boxes]).tolist())
    assert detect.suppress(crowd).scores.tolist() == plain_suppression(crowd)


def plain_suppression(crowd: Candidates) -> list[float]:
    kept: list[int] = []
    for index in np.argsort(-crowd.scores):
        if all(plain_iou(crowd.boxes[index], crowd.boxes[best]) < 0.4 for best in kept):
            kept.append(int(index))
    return crowd.scores[kept].tolist()


def plain_iou(first: Sequence[float], second: Sequence[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def test_no_candidates_are_no_faces() -> None:
    view = detect.view_of(picture(50, 50), 64)
    assert detect.faces_in(view, silent_levels(), 0.5) == []


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (480, 640), (250, 250), (33, 7), (1, 900)]
)
def test_a_view_has_the_asked_side_and_whole_cells(width: int, height: int) -> None:
    view = detect.view_of(picture(width, height), 320)
    assert view.scale == 320 / max(width, height)
    assert max(view.canvas.shape) == 320
    assert [side % 32 for side in view.canvas.shape[:2]] == [0, 0]


@pytest.mark.parametrize("margin_px", [0, 80])
def test_a_face_seen_in_a_view_comes_back_in_pixels_of_the_photo(margin_px: int) -> None:
    view = detect.view_of(picture(400, 200), 160, margin_px=margin_px)
    levels = silent_levels(max(view.canvas.shape))
    levels[0][0, 10, 10] = SURE
    (found,) = detect.faces_in(view, levels, 0.5)
    assert found.box == pytest.approx([(80 - margin_px) / 0.4] * 2 + [8 / 0.4] * 2)
    assert found.landmarks == pytest.approx(np.full((5, 2), (84 - margin_px) / 0.4))


def test_the_photo_lies_where_its_view_says() -> None:
    rgb = picture(100, 50)
    rgb[20:30, 40:60] = 255
    view = detect.view_of(rgb, 200, margin_px=30)
    middle = [round(30 + view.scale * at) for at in (25, 50)]
    assert view.canvas[middle[0], middle[1]].tolist() == [255] * 3
    assert view.canvas[29, 29].tolist() == [detect.GREY] * 3
    assert view.canvas[31, 31].tolist() == [90] * 3


@pytest.mark.parametrize(
    ("width", "height"), [(1301, 977), (977, 1301), (2600, 1800), (3999, 3001)]
)
def test_the_whole_of_a_large_photo_lies_where_its_view_says(width: int, height: int) -> None:
    rgb = picture(width, height)
    left, top = round(0.9 * width) - 40, round(0.9 * height) - 40
    rgb[top : top + 80, left : left + 80] = 255
    view = detect.view_of(rgb, 320)
    bright = np.argwhere(view.canvas[:, :, 0] > 200)
    expected = np.array([top + 40, left + 40]) * view.scale
    assert np.abs(bright.mean(axis=0) + 0.5 - expected).max() < 0.6
    assert max(view.canvas.shape) == 320


def test_a_large_photo_is_averaged_not_sampled() -> None:
    stripes = np.zeros((1280, 1280, 3), np.uint8)
    stripes[:, ::2] = 255
    assert set(detect.view_of(stripes, 320).canvas.ravel().tolist()) <= {127, 128}


def test_of_a_face_seen_in_two_views_the_surer_stays_and_nobody_else_goes() -> None:
    coarse = [face(10, 10, 70, 70, 0.9), face(150, 100, 70, 70, 0.5)]
    closer = [face(12, 10, 70, 70, 0.6), face(150, 102, 70, 70, 0.8), face(250, 0, 20, 20, 0.7)]
    found = ScriptedDetector(coarse, closer).search(picture(300, 300))
    assert found == [coarse[0], closer[1], closer[2]]


def test_a_box_within_a_surer_one_s_box_is_the_same_face() -> None:
    surer = face(10, 10, 40, 40, 0.9)
    assert detect.surest([face(20, 20, 18, 18, 0.6), surer]) == [surer]


def test_who_is_small_in_a_look_is_judged_by_the_closer_one() -> None:
    far, large = face(0, 0, 90, 90, 0.9), face(500, 0, 600, 600, 0.9)  # 18 px and 120 px of 320
    near = face(4, 0, 90, 90, 0.6)
    found = ScriptedDetector([], [far, large], [near]).search(picture(1600, 1600))
    assert found == [large, near]


@pytest.mark.parametrize("from_afar", [[], [face(22, 20, 198, 200, 0.8)]], ids=["not", "too"])
def test_two_faces_of_one_look_are_two_though_one_box_holds_the_other(
    from_afar: list[Detection],
) -> None:
    mother, child = face(20, 20, 200, 200, 0.9), face(60, 100, 60, 80, 0.7)
    assert ScriptedDetector(from_afar, [mother, child]).search(picture(300, 300)) == [mother, child]


def test_a_box_that_is_beaten_takes_nobody_else_s_place() -> None:
    over_both = face(50, 50, 160, 120, 0.8)
    two = [face(50, 55, 78, 110, 0.9), face(131, 55, 78, 110, 0.7)]
    assert ScriptedDetector([over_both], two).search(picture(300, 300)) == two


def test_a_small_face_stays_where_a_closer_look_shows_it_only_within_another() -> None:
    adult, child = face(200, 300, 400, 400, 0.9), face(250, 350, 50, 60, 0.95)
    closer = [face(200, 300, 400, 400, 0.85), face(250, 350, 50, 60, 0.6)]
    found = ScriptedDetector([], [adult, child], closer).search(picture(1000, 1000))
    assert found == [child, adult]


def test_of_the_coarse_view_large_faces_alone_count() -> None:
    small, large = face(0, 0, 30, 30), face(100, 100, 70, 70)  # 19 px and 45 px high in view
    assert ScriptedDetector([small, large], []).search(picture(300, 300)) == [large]


def test_who_is_seen_from_afar_alone_must_be_surer() -> None:
    doubtful = face(100, 100, 70, 70, detect.COARSE_SCORE - 0.01)
    assert ScriptedDetector([doubtful]).search(picture(300, 300)) == []
    assert ScriptedDetector([], [doubtful]).search(picture(300, 300)) == [doubtful]


def test_a_picture_made_of_faces_yields_the_surest_only() -> None:
    crowd = [face(30 * n, 0, 20, 20, 1 - n / 1000) for n in range(200)]
    assert ScriptedDetector([], crowd).search(picture(300, 300)) == crowd[: detect.MOST_FACES]


class ScriptedDetector(Detector):
    """Sees in each look what the script says, and remembers the sides of the views."""

    def __init__(self, *script: Sequence[Detection]) -> None:
        self._input_side_px = detect.INPUT_SIDE_PX
        self._score_threshold = detect.SCORE_THRESHOLD
        self._script = iter(script)
        self.sides: list[int] = []
        self.thresholds: list[float] = []

    def look(self, view: View, score_threshold: float | None = None) -> list[Detection]:
        self.sides.append(max(view.canvas.shape))
        threshold = self._score_threshold if score_threshold is None else score_threshold
        self.thresholds.append(threshold)
        return [face for face in next(self._script, []) if face.score >= threshold]


@pytest.mark.parametrize(
    ("side", "script", "looks"),
    [
        pytest.param(300, [[face(0, 0, 100, 100)]], [256, 320], id="found at once"),
        pytest.param(150, [[], [face(0, 0, 30, 30)]], [256, 320], id="found in a small photo"),
        pytest.param(1600, [[face(0, 0, 600, 600)]], [256, 320, 640], id="small beside a large"),
        pytest.param(1600, [[], [], [face(0, 0, 120, 120)]], [256, 320, 640], id="found closer"),
        pytest.param(
            1600, [[], *[[face(0, 0, 90, 90)]] * 2], [256, 320, 640, 1280], id="small in view"
        ),
        pytest.param(1600, [], [256, 320, 640, 1280, 320, 320] * 4, id="nobody in a large photo"),
        pytest.param(500, [], [256, 320, 640, 320, 320] * 4, id="nobody in a middling photo"),
        pytest.param(200, [], [256, 320, 320, 320] * 4, id="nobody in a small photo"),
    ],
)
def test_large_photos_are_searched_closer_only_when_needed(
    side: int, script: list[list[Detection]], looks: list[int]
) -> None:
    detector = ScriptedDetector(*script)
    detector.search(picture(side, side))
    assert detector.sides == looks


def test_where_nobody_is_sure_the_likeliest_face_is_answered_alone() -> None:
    doubtful = [face(0, 0, 90, 90, 0.41), face(100, 100, 60, 60, 0.39)]
    detector = ScriptedDetector([], [], [], [], [], [], [], [], [], doubtful)
    assert detector.search(picture(200, 200)) == doubtful[:1]
    asked = [detect.LAST_RESORT_SCORE, detect.SCORE_THRESHOLD, detect.COARSE_SCORE]
    assert sorted(set(detector.thresholds)) == asked


def test_a_face_that_is_seen_only_in_the_mirror_image_lies_where_it_lies_in_the_photo() -> None:
    seen = face(10, 20, 40, 50, 0.41)
    seen.landmarks[:] = [[15, 30], [45, 30], [30, 45], [20, 60], [40, 60]]
    (found,) = ScriptedDetector([], [], [], [], [], [seen]).search(picture(200, 200))
    assert found.box == (150, 20, 40, 50)
    assert found.landmarks.tolist() == [[155, 30], [185, 30], [170, 45], [160, 60], [180, 60]]


def test_stretched_light_uses_every_level_and_keeps_a_plain_picture_plain() -> None:
    flat = picture(64, 64)
    flat[20:40, 20:40] = 96
    stretched = detect.stretched(flat)
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert (stretched[20:40, 20:40] == 255).all()
    assert np.ptp(detect.stretched(picture(64, 64))) == 0


@pytest.mark.parametrize("turns", detect.QUARTER_TURNS)
def test_a_face_found_in_the_turned_photo_lies_where_it_lies_in_the_photo(turns: int) -> None:
    rgb = picture(100, 60)
    rgb[10:20, 70:90] = 255
    rows, columns = np.nonzero(np.rot90(rgb, turns)[:, :, 0] == 255)
    x, y = columns.min(), rows.min()
    seen = face(float(x), float(y), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1))
    seen.landmarks[:] = [x, y]
    found = detect.turned_back(seen, turns, rgb.shape)
    assert found.box == (70, 10, 20, 10)
    assert found.landmarks[0].tolist() == ([90, 10] if turns == 1 else [70, 20])


def test_a_steep_face_is_looked_at_again_in_the_turned_photo() -> None:
    steep = face(20, 20, 100, 100)
    steep.landmarks[3:] = [50, 0]
    level = face(18, 22, 100, 100, 0.95)
    detector = ScriptedDetector([steep], [], [level])
    assert [found.score for found in detector.search(picture(150, 150))] == [0.95]
    assert detector.sides == [256, 320, 320, 320]


def test_of_two_turns_that_show_the_same_face_the_surer_counts() -> None:
    sure, upside_down = face(50, 50, 100, 100, 0.9), face(50, 50, 100, 100, 0.6)
    detector = ScriptedDetector([], [], [sure], [upside_down])
    assert [found.score for found in detector.search(picture(200, 200))] == [0.9]


def test_who_lies_on_his_side_is_found_when_nobody_is_upright() -> None:
    detector = ScriptedDetector([], [], [face(20, 30, 40, 50)])
    (found,) = detector.search(picture(100, 200))
    assert found.box == (100 - 30 - 50, 20, 50, 40)


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        Detector(tmp_path / "nowhere.onnx")


def test_weights_that_are_no_graph_are_refused(tmp_path: Path) -> None:
    (tmp_path / "detector.onnx").write_bytes(b"not a graph")
    with pytest.raises(WeightsError):
        Detector(tmp_path / "detector.onnx")


def test_a_graph_that_is_no_detector_is_refused() -> None:
    with pytest.raises(WeightsError, match="a detector"):
        Detector(WEIGHTS_DIR / "heatmap.onnx")


@pytest.fixture(scope="module")
def shipped() -> Detector:
    return Detector(SHIPPED)


@pytest.mark.parametrize("level", [0, 127, 255])
def test_nobody_is_found_in_an_empty_picture(shipped: Detector, level: int) -> None:
    assert shipped.detect(np.full((240, 320, 3), level, np.uint8)) == []


def test_threads_may_share_a_detector(shipped: Detector) -> None:
    views = [detect.view_of(rgb, 320) for rgb in noise(8)]
    alone = [shipped.look(view) for view in views]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(shipped.look, views))
    assert [len(found) for found in together] == [len(found) for found in alone]


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def demo_photos() -> list[Path]:
    return sorted(PEOPLE_DIR.rglob("*.webp"))[:8]


@pytest.mark.parametrize("scale", [1.0, 0.4])
@pytest.mark.parametrize("path", demo_photos(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_faces_of_the_demo_people_are_found(
    shipped: Detector, path: Path, scale: float
) -> None:
    """Alone on a canvas: eyes above nose above mouth, the person's right on the image's left."""
    photo = Image.open(path).convert("RGB")
    size = (round(photo.width * scale), round(photo.height * scale))
    canvas = Image.new("RGB", (640, 480), (96, 110, 120))
    canvas.paste(photo.resize(size), (150, 90))
    (found,) = shipped.detect(np.asarray(canvas))
    x, y, w, h = found.box
    assert 150 <= x + w / 2 <= 150 + size[0]
    assert 90 <= y + h / 2 <= 90 + size[1]
    right_eye, left_eye, nose, right_mouth, left_mouth = found.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
