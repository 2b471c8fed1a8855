"""Lists of pairs in both forms, galleries from folders, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from face_models.training.evaluation.protocol import (
    Pair,
    UnusableInput,
    check_photos,
    people_of,
    read_gallery,
    read_landmarks,
    read_pairs,
)

pytestmark = pytest.mark.training

LFW = "2\t1\nAda\t1\t12\nAda\t1\tBo\t2\nCleo\t3\t4\nBo\t1\tCleo\t2\n"


def listed(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs"
    path.write_text(text)
    return path


def photos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_pairs_are_read_from_csv(tmp_path: Path) -> None:
    path = listed(tmp_path, "fold,a,b,same\n3,x/1.jpg,y/1.jpg,0\n4,x/1.jpg,x/2.jpg,1\n")
    assert read_pairs(path) == [
        Pair(3, "x/1.jpg", "y/1.jpg", False),
        Pair(4, "x/1.jpg", "x/2.jpg", True),
    ]


def test_pairs_are_read_from_lfws_own_list(tmp_path: Path) -> None:
    assert read_pairs(listed(tmp_path, LFW)) == [
        Pair(1, "Ada/Ada_0001.jpg", "Ada/Ada_0012.jpg", True),
        Pair(1, "Ada/Ada_0001.jpg", "Bo/Bo_0002.jpg", False),
        Pair(2, "Cleo/Cleo_0003.jpg", "Cleo/Cleo_0004.jpg", True),
        Pair(2, "Bo/Bo_0001.jpg", "Cleo/Cleo_0002.jpg", False),
    ]


def test_the_list_of_lfws_first_view_is_one_fold(tmp_path: Path) -> None:
    pairs = read_pairs(listed(tmp_path, "1\nAda\t1\t2\nAda\t1\tBo\t2\n"))
    assert [pair.fold for pair in pairs] == [1, 1]


def test_pairs_without_folds_are_dealt_into_ten_of_both_kinds(tmp_path: Path) -> None:
    rows = [f"a/{n},b/{n},{int(n < 20)}" for n in range(40)]
    pairs = read_pairs(listed(tmp_path, "\n".join(["a,b,same", *rows])))
    for fold in range(10):
        assert sorted(pair.same for pair in pairs if pair.fold == fold) == [False] * 2 + [True] * 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is neither a CSV"),
        ("Ada 1 2\n", "is neither a CSV"),
        ("a,b\nx,y\n", "has no column same; its columns are a, b"),
        ("a,b,same\nx,y,1\nx,y,yes\n", "line 3: same is 0 or 1, not 'yes'"),
        ("a,b,same\nx,y\n", "line 2: same is 0 or 1, not None"),
        ("a,b,same\nx,,1\n", "line 2: a pair has two photos"),
        ("fold,a,b,same\nfirst,x,y,1\n", "line 2: fold is a number, not 'first'"),
        ("a,b,same\nx,y,1\n", "holds no pairs of different people"),
        ("a,b,same\nx,y,0\n", "holds no pairs of the same person"),
        ("2\t1\nAda\t1\t2\n", "promises 4 pairs; there are 1"),
        ("1\nAda\t1\nAda\t1\tBo\t2\n", "line 2: not `name i j`"),
    ],
)
def test_a_list_that_is_none_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    path = listed(tmp_path, text)
    with pytest.raises(UnusableInput) as refusal:
        read_pairs(path)
    assert told in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match=r"no\.csv"):
        read_pairs(tmp_path / "no.csv")


def test_people_are_known_where_folders_agree_with_the_pairs() -> None:
    pairs = [Pair(0, "ada/1", "ada/2", True), Pair(0, "ada/1", "bo/1", False)]
    assert people_of(pairs) == {"ada/1": "ada", "ada/2": "ada", "bo/1": "bo"}
    assert people_of([*pairs, Pair(0, "ada/1", "ada/3", False)]) is None
    assert people_of([Pair(0, "1.jpg", "2.jpg", True)]) is None


def test_one_photo_of_everybody_with_two_is_enrolled_and_the_others_are_searched(
    tmp_path: Path,
) -> None:
    folder = photos(tmp_path, "ada/1.jpg", "ada/2.PNG", "ada/3.webp", "bo/1.jpg", "bo/notes.txt")
    searches = read_gallery(folder, seed=0)
    assert set(searches.enrolled) == {"ada"}
    assert set(searches.mated) == {"ada/1.jpg", "ada/2.PNG", "ada/3.webp"} - {
        searches.enrolled["ada"]
    }
    assert searches.non_mated == {"bo/1.jpg": "bo"}
    assert searches.photos == ["ada/1.jpg", "ada/2.PNG", "ada/3.webp", "bo/1.jpg"]


def test_who_is_enrolled_with_which_photo_is_the_seeds(tmp_path: Path) -> None:
    folder = photos(tmp_path, "bo/1.jpg", *(f"ada/{n}.jpg" for n in range(30)))
    enrolled = [read_gallery(folder, seed).enrolled["ada"] for seed in (1, 1, 2, 3)]
    assert enrolled[0] == enrolled[1]
    assert len(set(enrolled)) > 1


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "holds no folders with photos"),
        (("1.jpg", "ada/notes.txt"), "holds no folders with photos"),
        (("ada/1.jpg", "bo/1.jpg"), "nobody has two photos"),
        (("ada/1.jpg", "ada/2.jpg"), "nobody has a single photo"),
    ],
)
def test_a_folder_that_is_no_gallery_is_refused(
    tmp_path: Path, names: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UnusableInput, match=told):
        read_gallery(photos(tmp_path, *names), seed=0)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="nowhere is no folder"):
        read_gallery(tmp_path / "nowhere", seed=0)


def test_the_first_missing_photo_is_named(tmp_path: Path) -> None:
    folder = photos(tmp_path, "ada/1.jpg")
    check_photos(folder, ["ada/1.jpg"])
    with pytest.raises(UnusableInput, match=r"ada/2\.jpg is not there\."):
        check_photos(folder, ["ada/1.jpg", "ada/2.jpg"])
    with pytest.raises(UnusableInput, match=r"ada/2\.jpg is not there, nor are 2 other photos"):
        check_photos(folder, ["ada/2.jpg", "ada/3.jpg", "ada/4.jpg"])


@pytest.mark.parametrize(
    ("text", "told"),
    [("photo,nose_x\na,1\n", "has no column right_eye_x"), ("", "no.csv cannot be read")],
)
def test_landmarks_that_are_none_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = listed(tmp_path, text) if text else tmp_path / "no.csv"
    with pytest.raises(UnusableInput, match=told):
        read_landmarks(path)
