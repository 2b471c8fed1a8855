"""What a step learns from: clean answers for damaged photos, the teacher's own for views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from face_models.training import data
from face_models.training.config import Stage, read_config
from face_models.training.lesson import Lesson, Moment, schedule
from face_models.training.views import Views

pytestmark = pytest.mark.training


@pytest.fixture
def lesson(data_dir: Path, tiny_config: Path, tmp_path: Path) -> Lesson:
    random = np.random.default_rng(0)
    views = Views(
        random.integers(0, 255, (2, 5, 112, 112, 3), dtype=np.uint8),
        random.normal(size=(2, 5, 128)).astype(np.float16),
    )
    faces = data.load(data_dir, tmp_path, "train")
    return Lesson(read_config(tiny_config), faces, views)


def _moment(step: int, views_share: float = 0.5) -> Moment:
    stage = Stage(input_px=32, photos=96, batch=8, peak_learning_rate=1e-3, views_share=views_share)
    return Moment(stage, step, 12)


def test_every_photo_is_seen_once_a_pass(lesson: Lesson) -> None:
    total = len(lesson.faces)
    seen = [n for step in range(total // 4) for n in lesson._in_turn(total, _moment(step), 4)]
    assert sorted(seen) == list(range(total))
    later = [n for step in range(6, 12) for n in lesson._in_turn(total, _moment(step), 4)]
    assert sorted(later) == list(range(total))
    assert seen != later


def test_a_batch_is_the_same_at_every_call(lesson: Lesson) -> None:
    one, again = lesson.batch(4, _moment(4)), lesson.batch(4, _moment(4))
    assert one.rgb.equal(again.rgb)
    assert not one.rgb.equal(lesson.batch(5, _moment(5)).rgb)


def test_photos_are_taught_the_clean_answer_and_views_the_answer_to_the_view(
    lesson: Lesson,
) -> None:
    batch, moment = lesson.batch(0, _moment(0)), _moment(0)
    assert lesson.views is not None
    photos = lesson._in_turn(len(lesson.faces), moment, 4)
    views = lesson._in_turn(len(lesson.views), moment, 4)
    assert np.allclose(batch.teacher[:4], lesson.faces.teacher_both_ways[photos])
    assert np.allclose(batch.teacher[4:], lesson.views.take(views)[1])
    assert batch.identity[4:].tolist() == [data.NO_IDENTITY] * 4
    assert batch.identity[:4].tolist() == lesson.faces.identity[photos].tolist()


def test_a_stage_without_views_learns_from_photos_alone(lesson: Lesson) -> None:
    batch = lesson.batch(0, _moment(0, views_share=0))
    assert batch.rgb.shape == (8, 3, 32, 32)
    photos = lesson._in_turn(len(lesson.faces), _moment(0), 8)
    assert batch.identity.tolist() == lesson.faces.identity[photos].tolist()


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    stage = Stage(input_px=32, photos=800, batch=8, peak_learning_rate=1.0, warmup_share=0.1)
    rates = [moment.learning_rate for moment in schedule((stage,))]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)
