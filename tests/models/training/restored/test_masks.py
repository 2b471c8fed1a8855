"""Masks: where they lie by definition, what they leave alone, that a seed says all."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.align import template
from face_models.training.restored.masks import (
    COLOURS,
    HALF_OUTLINES,
    PATTERNS,
    UNSEEN_COLOURS,
    UNSEEN_SHAPES,
    Style,
    coverage,
    masked,
    outline,
    styles,
    wear,
)

pytestmark = pytest.mark.training

SIDE = 112
LANDMARKS = template(SIDE)
RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH = LANDMARKS
SHAPES = list(HALF_OUTLINES)


def face(level: int = 128, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-20, 20, (SIDE, SIDE, 3))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def drawn(shape: str) -> np.ndarray:
    return coverage(outline(shape, LANDMARKS), SIDE)


def at(cover: np.ndarray, point: np.ndarray) -> float:
    x, y = np.rint(point).astype(int)
    return float(cover[y, x])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_mask_hides_the_mouth_and_leaves_the_eyes(shape: str) -> None:
    cover = drawn(shape)

    assert [at(cover, corner) for corner in (RIGHT_MOUTH, LEFT_MOUTH)] == [1.0, 1.0]
    assert [at(cover, eye) for eye in (RIGHT_EYE, LEFT_EYE)] == [0.0, 0.0]


def test_all_but_the_one_worn_below_the_nose_hide_its_tip() -> None:
    hidden = {shape: at(drawn(shape), NOSE) for shape in SHAPES}

    assert hidden == {shape: float(shape != "below the nose") for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_upper_edge_stands_where_the_outline_says(shape: str) -> None:
    """In shares of the way from the eyes' line to the mouth's, down the middle of the face."""
    eyes, mouth = (RIGHT_EYE + LEFT_EYE) / 2, (RIGHT_MOUTH + LEFT_MOUTH) / 2
    column = drawn(shape)[:, round(float(mouth[0]))]

    edge = (int(np.argmax(column >= 0.5)) - 0.5 - eyes[1]) / (mouth[1] - eyes[1])

    assert edge == pytest.approx(HALF_OUTLINES[shape][0][1], abs=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_area_is_that_of_the_outline_within_the_crop(shape: str) -> None:
    corners = np.clip(outline(shape, LANDMARKS), -0.5, SIDE - 0.5)
    x, y = corners.T
    shoelace = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2

    assert drawn(shape).sum() == pytest.approx(shoelace, rel=0.04)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_is_the_same_on_both_sides(shape: str) -> None:
    """In the face's units; the template itself leans a little."""
    upright = np.array([[40, 50], [70, 50], [55, 70], [43, 90], [67, 90]], dtype=np.float32)
    corners = outline(shape, upright)
    mirrored = np.column_stack([110 - corners[:, 0], corners[:, 1]])

    assert sorted(map(tuple, np.round(mirrored, 6))) == sorted(map(tuple, np.round(corners, 6)))


def test_a_mask_follows_from_the_seed_and_the_photo_alone() -> None:
    first, again = masked(face(), "photo", 1), masked(face(), "photo", 1)
    masked(face(), "another", 1)

    assert first.style == again.style
    assert np.array_equal(first.face, again.face)
    assert np.array_equal(first.region, again.region)


def test_photos_and_seeds_wear_different_masks() -> None:
    worn = [masked(face(), name, seed).face for name in "abc" for seed in range(3)]

    assert len({picture.tobytes() for picture in worn}) == len(worn)


def test_every_shape_and_colour_is_worn_by_somebody() -> None:
    worn = [masked(face(), name, 0).style for name in range(400)]

    assert {style.shape for style in worn} == set(HALF_OUTLINES)
    assert {style.colour for style in worn} == set(COLOURS)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_mask_does_not_cover_stays_as_it_was(shape: str) -> None:
    before = face()
    random = np.random.default_rng(4)

    worn = wear(before, Style(shape, "blue", "checks"), random)

    beside = ~worn.region
    changed = (worn.face != before).any(axis=2)
    soft_edge = changed & beside
    assert soft_edge.sum() < 0.06 * worn.region.sum()
    assert changed[worn.region].mean() > 0.99
    assert 0.12 < worn.region.mean() < 0.55


def test_a_plain_mask_has_its_colour_in_a_well_lit_photo_and_less_light_in_a_dark_one() -> None:
    style = Style("surgical", "white", "plain")
    light, dark = (wear(face(level), style, np.random.default_rng(0)) for level in (128, 64))
    x, y = np.rint((RIGHT_MOUTH + LEFT_MOUTH) / 2).astype(int)
    middle = np.s_[y - 3 : y + 4, x - 3 : x + 4]

    assert light.face[middle].mean(axis=(0, 1)) == pytest.approx(COLOURS["white"], abs=6)
    assert dark.face[middle].mean() == pytest.approx(light.face[middle].mean() / 2, rel=0.06)


def test_training_never_sees_the_shapes_and_colours_kept_for_judging() -> None:
    seen, every = styles(unseen=False), styles(unseen=True)

    assert len(every) == len(HALF_OUTLINES) * len(COLOURS) * len(PATTERNS)
    assert set(seen) < set(every)
    assert not {style.shape for style in seen} & set(UNSEEN_SHAPES)
    assert not {style.colour for style in seen} & set(UNSEEN_COLOURS)
