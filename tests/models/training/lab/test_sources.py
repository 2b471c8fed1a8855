"""Photos of a study: the layouts that are read, the crops that are cut, what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab import photos
from face_models.training.lab.photos import Photos, Shot
from face_models.training.lab.sources import drawn, identities, yaleb
from face_models.training.lab.sources.aihub import Layout, find_records, shots
from face_models.training.lab.sources.crop import face_in_crop, square_crop

pytestmark = pytest.mark.training

BOX = [30, 20, 40, 60]
TOLD = {"person": "p1", "light": "bright", "pose": "front", "box": BOX}


def _example(folder: Path, told: object, place: str = "p1/bright") -> Path:
    """One photo, black but for a red rectangle where the face is, with its JSON beside it."""
    rgb = np.zeros((100, 120, 3), np.uint8)
    rgb[20:80, 30:70] = (255, 0, 0)
    file = folder / place / "front.jpg"
    file.parent.mkdir(parents=True)
    Image.fromarray(rgb).save(file, quality=95, subsampling=0)
    file.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("told", "layout"),
    [
        (TOLD, Layout("")),
        ({"box": BOX}, Layout("")),  # who and in what light, the folders say
        ({**TOLD, "light": "L1"}, Layout("", lights={"L1": "bright"})),
        ({**TOLD, "box": [30, 20, 70, 80]}, Layout("", corners=True)),
        ({**TOLD, "box": {"x": 30, "y": 20, "w": 40, "h": 60}}, Layout("")),
        (
            {"who": {"id": "p1"}, "lux": "bright", "face": {"box": BOX}},
            Layout("", person="who.id", light="lux", box="face.box"),
        ),
    ],
)
def test_metadata_is_read_wherever_the_settings_say_it_stands(
    tmp_path: Path, told: object, layout: Layout
) -> None:
    file = _example(tmp_path, told)
    (record,) = find_records(tmp_path, layout)
    assert (record.photo, record.person, record.light) == (file, "p1", "bright")
    assert record.box == (30, 20, 40, 60)


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({**TOLD, "light": "dim"}, "light 'dim' is none of bright, medium, dark"),
        ({"person": "p1", "light": "dark"}, "box is not a box of four numbers, but None"),
        ({**TOLD, "box": [1, 2, 3]}, "box is not a box of four numbers"),
        ({**TOLD, "box": [1, 2, 0, 5]}, "0 wide and 5 high holds no face"),
    ],
)
def test_metadata_that_says_no_face_or_light_is_refused(
    tmp_path: Path, told: object, complaint: str
) -> None:
    _example(tmp_path, told)
    with pytest.raises(UnusableInput, match=complaint):
        find_records(tmp_path, Layout(""))


def test_metadata_without_its_photo_is_refused(tmp_path: Path) -> None:
    _example(tmp_path, TOLD).unlink()
    with pytest.raises(UnusableInput, match="no photo of the same name"):
        find_records(tmp_path, Layout(""))


def test_a_crop_is_the_boxs_square_with_its_margins(tmp_path: Path) -> None:
    _example(tmp_path, TOLD)
    (shot,) = shots(find_records(tmp_path, Layout("")), tmp_path, 224)
    red = shot.crop[..., 0] > 128
    side = 224 / (60 * 1.2)  # a photo's pixel in the crop
    assert shot.crop.shape == (224, 224, 3)
    assert red.any(axis=0).sum() == pytest.approx(40 * side, abs=2)
    assert red.any(axis=1).sum() == pytest.approx(60 * side, abs=2)
    assert np.argwhere(red).mean(axis=0) == pytest.approx([111.5, 111.5], abs=1.5)


def test_the_face_in_a_crop_is_the_square_without_its_margins() -> None:
    x, y, width, height = face_in_crop(0.25)
    assert (x, y) == pytest.approx((1 / 6, 1 / 6))
    assert (width, height) == pytest.approx((2 / 3, 2 / 3))


def test_a_crop_that_reaches_out_of_the_photo_is_black_there() -> None:
    white = np.full((50, 50, 3), 255, np.uint8)
    crop = square_crop(white, (-25, 0, 50, 50), 100, 0)
    assert crop[:, :45].max() == 0
    assert crop[2:-2, 55:-2].min() == 255


def test_yale_b_keeps_the_middle_square_and_its_grades_of_light(tmp_path: Path) -> None:
    grey = np.zeros((192, 168), np.uint8)
    grey[12:180] = 200
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    row = {"image": file.getvalue(), "person": "yaleB01", "azimuth_deg": -35, "elevation_deg": 15}
    (tmp_path / "yaleb").mkdir()
    table = pa.Table.from_pylist([{**row, "light": "medium"}])
    pq.write_table(table, tmp_path / yaleb.FILE)
    (shot,) = yaleb.shots(yaleb.read_table(tmp_path), 168)
    assert (shot.person, shot.light, shot.name) == ("yaleB01", "medium", "yaleB01 A-035E+15 0")
    assert shot.crop.min() == 200


def test_an_identitys_darkest_third_is_dark() -> None:
    levels = np.array([90.0, 10, 50, 40, 200, 100, 150])
    person = np.array([0, 0, 0, 1, 1, 1, 1])
    told = identities.graded(levels, person)
    assert told == ["bright", "dark", "medium", "dark", "bright", "medium", "bright"]


def _shot(person: str, light: str, level: int = 0) -> Shot:
    return Shot(np.full((4, 4, 3), level, np.uint8), person, light, f"{person} {light} {level}")


def _kept(folder: Path, shots_: list[Shot]) -> Photos:
    photos.keep(shots_, len(shots_), (0.0, 0.0, 1.0, 1.0), folder)
    return photos.load(folder)


def test_bright_and_medium_light_is_learnt_and_dark_light_measured(tmp_path: Path) -> None:
    kept = _kept(tmp_path, [_shot(p, light) for p in "ab" for light in photos.LIGHTS])
    assert list(kept.light[kept.to_learn()]) == ["bright", "medium"] * 2
    assert set(kept.light[kept.to_validate(0, 0)]) == {"dark"}


def test_who_was_not_seen_in_both_kinds_of_light_is_left_out(tmp_path: Path) -> None:
    both = [_shot(p, light, 7) for p in "ac" for light in ("bright", "dark")]
    kept = _kept(tmp_path, [_shot("b", "bright", 3), *both])
    assert kept.people == 2
    assert (np.asarray(kept.pixels) == 7).all()


def test_a_set_that_nothing_can_be_learnt_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="1 people have photos both"):
        _kept(tmp_path, [_shot("a", "bright"), _shot("a", "dark"), _shot("b", "dark")])


def test_measured_photos_are_drawn_evenly_from_the_people(tmp_path: Path) -> None:
    many = [_shot("a", "dark", n) for n in range(20)] + [_shot("b", "dark", n) for n in range(4)]
    kept = _kept(tmp_path, [_shot("a", "bright"), _shot("b", "bright"), *many])
    rows = kept.to_validate(8, seed=1)
    assert list(np.bincount(kept.person[rows])) == [4, 4]
    assert list(rows) == list(kept.to_validate(8, seed=1))
    assert set(rows) != set(kept.to_validate(8, seed=2))


def test_drawn_people_look_like_themselves_and_unlike_others() -> None:
    random = np.random.default_rng
    pictures = {
        (who, n): drawn.draw(drawn.look_of(who), "bright", random(n))[0][45:95, 45:85].astype(float)
        for who in ("ada", "bo")
        for n in (1, 2)
    }
    own = np.abs(pictures["ada", 1].mean((0, 1)) - pictures["ada", 2].mean((0, 1))).max()
    others = np.abs(pictures["ada", 1].mean((0, 1)) - pictures["bo", 1].mean((0, 1))).max()
    assert own < others
