"""What is compared with what: pairs from a list (1:1), a gallery and probes from a folder (1:N).

Lists of pairs come in two forms: a CSV with the columns `a`, `b`, `same` and, where the folds are
given, `fold`; or the `pairs.txt` of Labeled Faces in the Wild (Huang et al. 2007).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from face_models.align import Landmarks

FOLDS = 10
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic"})
COLUMNS = ("a", "b", "same")
LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")


class UnusableInput(ValueError):
    """A list or folder to evaluate on is not what it should be; the message says where."""


@dataclass(frozen=True)
class Pair:
    fold: int
    a: str
    b: str
    same: bool


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of photos, as paths below the folder of photos.

    A CSV without `fold` is dealt into ten folds, same-person and other pairs apart, in turn.

    Raises:
        UnusableInput: no such file, or not a list of pairs; the file and line are named.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableInput(f"The list of pairs {path} cannot be read: {error}") from error
    read = _csv_pairs if "," in (lines[0] if lines else "") else _lfw_pairs
    pairs = list(read(path, lines))
    for same, what in ((True, "the same person"), (False, "different people")):
        if not any(pair.same is same for pair in pairs):
            raise UnusableInput(f"{path} holds no pairs of {what}; there is nothing to tell apart.")
    return pairs


def _csv_pairs(path: Path, lines: Sequence[str]) -> Iterator[Pair]:
    rows = csv.DictReader(lines)
    header = rows.fieldnames or ()
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise UnusableInput(
            f"{path} has no column {', '.join(missing)}; its columns are {', '.join(header)}."
        )
    dealt = {True: 0, False: 0}
    for row in rows:
        same = _truth(row, path, rows.line_num)
        fold = _fold(row, path, rows.line_num) if "fold" in header else dealt[same] % FOLDS
        dealt[same] += 1
        if not row["a"] or not row["b"]:
            raise UnusableInput(f"{path}, line {rows.line_num}: a pair has two photos, a and b.")
        yield Pair(fold, row["a"], row["b"], same)


def _truth(row: Mapping[str, str | None], path: Path, line: int) -> bool:
    if row["same"] not in ("0", "1"):
        raise UnusableInput(f"{path}, line {line}: same is 0 or 1, not {row['same']!r}.")
    return row["same"] == "1"


def _fold(row: Mapping[str, str | None], path: Path, line: int) -> int:
    try:
        return int(row["fold"] or "")
    except ValueError:
        raise UnusableInput(
            f"{path}, line {line}: fold is a number, not {row['fold']!r}."
        ) from None


def _lfw_pairs(path: Path, lines: Sequence[str]) -> Iterator[Pair]:
    """First line `folds, pairs of each kind`; in each fold first the same-person pairs."""
    folds, each = _lfw_header(path, lines)
    pairs = lines[1:]
    if len(pairs) != 2 * folds * each:
        raise UnusableInput(
            f"{path}: its first line promises {2 * folds * each} pairs; there are {len(pairs)}."
        )
    for number, line in enumerate(pairs):
        photos = _lfw_photos(line.split())
        if photos is None:
            raise UnusableInput(f"{path}, line {number + 2}: not `name i j` or `name i name j`.")
        yield Pair(1 + number // (2 * each), *photos, same=len(line.split()) == 3)


def _lfw_header(path: Path, lines: Sequence[str]) -> tuple[int, int]:
    numbers = lines[0].split() if lines else []
    if len(numbers) not in (1, 2) or not all(number.isdecimal() for number in numbers):
        raise UnusableInput(
            f"{path} is neither a CSV with the columns {', '.join(COLUMNS)} nor a list like LFW's "
            "pairs.txt, which starts with the numbers of folds and pairs."
        )
    return (1, int(numbers[0])) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))


def _lfw_photos(fields: Sequence[str]) -> tuple[str, str] | None:
    match fields:
        case [name, i, j] if i.isdecimal() and j.isdecimal():
            return _lfw_path(name, i), _lfw_path(name, j)
        case [name, i, other, j] if i.isdecimal() and j.isdecimal():
            return _lfw_path(name, i), _lfw_path(other, j)
    return None


def _lfw_path(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04}.jpg"


def read_landmarks(path: Path) -> dict[str, Landmarks]:
    """Landmarks in pixels by photo, from a CSV with columns photo, right_eye_x … mouth_left_y.

    Raises:
        UnusableInput: no such file, or a column is missing or holds no numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["photo"]: _landmarks(row) for row in csv.DictReader(file)}
    except KeyError as missing:
        raise UnusableInput(f"{path} has no column {missing.args[0]}.") from missing
    except (OSError, ValueError) as error:
        raise UnusableInput(f"The landmarks {path} cannot be read: {error}") from error


def _landmarks(row: Mapping[str, str]) -> Landmarks:
    points = [[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in LANDMARKS]
    return np.array(points, dtype=np.float32)


def people_of(pairs: Iterable[Pair]) -> dict[str, str] | None:
    """Photo -> person, where the photos' folders agree with the pairs on who is who; else None."""
    people: dict[str, str] = {}
    for pair in pairs:
        a, b = (PurePosixPath(photo).parent.as_posix() for photo in (pair.a, pair.b))
        if "." in (a, b) or (a == b) is not pair.same:
            return None
        people |= {pair.a: a, pair.b: b}
    return people


@dataclass(frozen=True)
class Searches:
    """An open-set identification test: one enrolled photo a person, everything else is searched.

    `mated` probes are of enrolled people, `non_mated` of people with a single photo, who are not
    enrolled. Person by photo, photos as paths below the folder.
    """

    enrolled: Mapping[str, str]  # person -> photo
    mated: Mapping[str, str]  # photo -> person
    non_mated: Mapping[str, str]  # photo -> person

    @property
    def photos(self) -> list[str]:
        return sorted([*self.enrolled.values(), *self.mated, *self.non_mated])


def read_gallery(folder: Path, seed: int) -> Searches:
    """One folder of photos per person; whose photo is enrolled is drawn with `seed`.

    Raises:
        UnusableInput: no such folder, nobody to enrol, or nobody who is not enrolled.
    """
    people = _photos_by_person(folder)
    random = np.random.default_rng(seed)
    enrolled: dict[str, str] = {}
    mated: dict[str, str] = {}
    non_mated: dict[str, str] = {}
    for person, photos in people.items():
        if len(photos) == 1:
            non_mated[photos[0]] = person
            continue
        enrolled[person] = photos[int(random.integers(len(photos)))]
        mated |= {photo: person for photo in photos if photo != enrolled[person]}
    if not enrolled:
        raise UnusableInput(f"{folder}: nobody has two photos, one to enrol and one to search.")
    if not non_mated:
        raise UnusableInput(
            f"{folder}: nobody has a single photo; without people who are not enrolled there are "
            "no false positives to count."
        )
    return Searches(enrolled, mated, non_mated)


def _photos_by_person(folder: Path) -> dict[str, list[str]]:
    if not folder.is_dir():
        raise UnusableInput(f"{folder} is no folder.")
    people = {
        person.name: sorted(
            photo.relative_to(folder).as_posix()
            for photo in person.iterdir()
            if photo.suffix.lower() in PHOTO_SUFFIXES
        )
        for person in sorted(folder.iterdir())
        if person.is_dir()
    }
    people = {person: photos for person, photos in people.items() if photos}
    if not people:
        raise UnusableInput(f"{folder} holds no folders with photos; one folder per person is due.")
    return people


def check_photos(folder: Path, photos: Iterable[str]) -> None:
    """Raises UnusableInput, naming the first, where photos of a list are not in the folder."""
    missing = [photo for photo in photos if not (folder / photo).is_file()]
    if missing:
        raise UnusableInput(
            f"{folder / missing[0]} is not there, nor are {len(missing) - 1} other photos."
            if len(missing) > 1
            else f"{folder / missing[0]} is not there."
        )
