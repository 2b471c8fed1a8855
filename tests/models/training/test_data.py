"""The training set: decoded once, split by people, rare identities counted as unknown."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from face_models.training import data

pytestmark = pytest.mark.training


def test_rows_keep_their_labels_and_lone_photos_have_no_identity(
    data_dir: Path, tmp_path: Path
) -> None:
    faces = data.load(data_dir, tmp_path, "train", min_photos=2)
    assert len(faces) == 24
    assert faces.identities == 6
    assert (faces.identity == data.NO_IDENTITY).sum() == 1
    assert np.allclose(np.linalg.norm(faces.teacher, axis=1), 1, atol=1e-6)


def test_no_person_stands_in_both_splits(data_dir: Path, tmp_path: Path) -> None:
    train, val = (data.load(data_dir, tmp_path, split) for split in ("train", "val"))
    assert not set(train.rows) & set(val.rows)


def test_identities_with_too_few_photos_count_as_unknown(data_dir: Path, tmp_path: Path) -> None:
    faces = data.load(data_dir, tmp_path, "train", min_photos=4)
    assert faces.identities == 5  # the one whose label is missing once has three left


def test_people_of_too_many_photos_can_be_left_out(data_dir: Path, tmp_path: Path) -> None:
    faces = data.load(data_dir, tmp_path, "train", min_photos=2, max_photos=3)
    assert len(faces) == 4  # three of the person whose fourth photo lost its label, and that one
    assert faces.identities == 1
    assert (faces.identity == data.NO_IDENTITY).sum() == 1


def test_photos_are_decoded_once(data_dir: Path, tmp_path: Path) -> None:
    first = data.prepare(data_dir, tmp_path)
    written = first.stat().st_mtime_ns
    assert data.prepare(data_dir, tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert np.load(first, mmap_mode="r").shape == (48, 112, 112, 3)


def test_two_processes_that_want_the_photos_decode_them_once(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    real_decode = data._decode

    def counted(photo: bytes) -> object:
        if not decoded:  # in the middle of the first one's work the second comes
            second.append(pool.submit(data.prepare, data_dir, tmp_path))
            assert not wait(second, timeout=0.2).done
        decoded.append(photo)
        return real_decode(photo)

    monkeypatch.setattr(data, "_decode", counted)
    second: list[Future[Path]] = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(data.prepare, data_dir, tmp_path)
        assert first.result() == tmp_path / data.PIXELS_FILE
        assert second[0].result() == first.result()
    assert len(decoded) == 48


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="faces"):
        data.prepare(tmp_path, tmp_path / "cache")
