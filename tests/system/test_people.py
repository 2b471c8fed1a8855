"""Which photos of a folder are enrolled, which is held out, and whose they are."""

from pathlib import Path

import pytest

from demo.people import MOST_ENROLLED, NoPeople, read_people
from tests.system.conftest import PEOPLE


def write(folder: Path, *names: str) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).touch()


def test_the_last_photo_of_each_person_is_held_out(tmp_path: Path) -> None:
    write(tmp_path / "Ada Ahn", "2.jpg", "10.JPG", "1.png", "notes.txt")
    (ada,) = read_people(tmp_path)
    assert ada.name == "Ada Ahn"
    assert [photo.name for photo in ada.enrolled] == ["1.png", "2.jpg"]
    assert ada.probe == tmp_path / "Ada Ahn" / "10.JPG"


def test_an_only_photo_is_enrolled_and_nobody_searches_with_it(tmp_path: Path) -> None:
    write(tmp_path / "bo", "1.webp")
    (bo,) = read_people(tmp_path)
    assert (len(bo.enrolled), bo.probe) == (1, None)


def test_what_is_nobodys_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "empty")
    write(tmp_path / "cleo", "1.jpg")
    (tmp_path / "loose.jpg").touch()
    assert [subject.name for subject in read_people(tmp_path)] == ["Cleo"]


def test_no_more_photos_are_enrolled_than_the_gateway_takes_at_once(tmp_path: Path) -> None:
    write(tmp_path / "ada", *(f"{number}.jpg" for number in range(30)))
    (ada,) = read_people(tmp_path)
    assert len(ada.enrolled) == MOST_ENROLLED
    assert ada.probe == tmp_path / "ada" / "29.jpg"


@pytest.mark.parametrize(("folder", "reason"), [("", "has no sub-folder"), ("x", "not a folder")])
def test_a_folder_without_people_is_refused(tmp_path: Path, folder: str, reason: str) -> None:
    with pytest.raises(NoPeople, match=reason):
        read_people(tmp_path / folder)


def test_forty_people_who_do_not_exist_have_four_pictures_each() -> None:
    people = read_people(PEOPLE)
    assert len(people) == 40
    assert {len(person.enrolled) for person in people} == {3}
    assert all(person.probe for person in people)
    assert all(person.name.startswith("Demo ") for person in people)
