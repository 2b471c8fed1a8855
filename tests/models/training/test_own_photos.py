"""One's own photos become a training set that the loop learns from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from face_models.pipeline import Pipeline
from face_models.training import data
from face_models.training.own_photos import NoPeople, import_photos

PEOPLE = Path(__file__).parents[2] / "data" / "people"

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load()


@pytest.fixture
def photos_dir(tmp_path: Path) -> Path:
    """Three people who do not exist, and a photo that shows nobody."""
    folder = tmp_path / "photos"
    for person in sorted(PEOPLE.iterdir())[:3]:
        shutil.copytree(person, folder / person.name)
    (min(folder.iterdir()) / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    return folder


def test_faces_are_labelled_by_folder_split_by_people_and_taught_by_the_shipped_network(
    photos_dir: Path, tmp_path: Path, pipeline: Pipeline
) -> None:
    found = import_photos(photos_dir, tmp_path / "data", pipeline)
    assert found.people == 3
    assert list(found.refused) == [f"{min(photos_dir.iterdir()).name}/torn.jpg"]
    train, val = (data.load(tmp_path / "data", tmp_path, split) for split in ("train", "val"))
    assert (train.identities, val.identities) == (2, 1)
    assert len(train) + len(val) == found.faces
    own = train.teacher @ train.teacher.T
    same = train.identity[:, None] == train.identity[None]
    assert own[same].mean() > own[~same].mean() + 0.2
    assert np.allclose(np.linalg.norm(train.teacher, axis=1), 1, atol=1e-3)


def test_one_folder_is_too_few_people(photos_dir: Path, tmp_path: Path, pipeline: Pipeline) -> None:
    for person in sorted(photos_dir.iterdir())[1:]:
        shutil.rmtree(person)
    with pytest.raises(NoPeople, match="1 folders"):
        import_photos(photos_dir, tmp_path / "data", pipeline)
    assert not (tmp_path / "data").exists()
