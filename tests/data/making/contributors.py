"""Who may contribute: people with enough frontal, sharp, ordinary photos, grouped by likeness."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from making.faces import Faces, Floats, Rgb

PICTURES = 4  # of each demo person
CONTRIBUTORS = 4  # of each demo person; nobody contributes to two
MOST_LOOKED_AT = 40  # photos of one identity


@dataclass(frozen=True)
class Contributor:
    identity: str
    photos: tuple[Rgb, ...]  # PICTURES or a few more, the most usable first
    traits: Floats  # (2,)


class Oddness:
    """How far a photo is from the principal components of ordinary faces: hats, hands, letters."""

    def __init__(self, photos: Sequence[Rgb], components: int = 20) -> None:
        small = np.array([self._small(photo) for photo in photos])
        self._mean = small.mean(axis=0)
        self._axes = np.linalg.svd(small - self._mean, full_matrices=False)[2][:components]

    def __call__(self, photo: Rgb) -> float:
        rest = self._small(photo) - self._mean
        rest = rest - self._axes.T @ (self._axes @ rest)
        return float(np.linalg.norm(rest) / np.sqrt(len(rest)))

    @staticmethod
    def _small(photo: Rgb) -> Floats:
        grey = cv2.resize(cv2.GaussianBlur(grey_of(photo), (0, 0), 2), (28, 28)).astype(np.float32)[
            4:, 3:25
        ]
        return np.asarray((grey - grey.mean()) / grey.std()).ravel()


def grey_of(photo: Rgb) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def symmetry(photo: Rgb) -> float:
    """1 for a face that equals its mirror image: frontal and evenly lit."""
    middle = cv2.GaussianBlur(grey_of(photo).astype(np.float32), (0, 0), 3)[24:104, 14:98]
    middle = middle - middle.mean()
    return float((middle * middle[:, ::-1]).sum() / (middle**2).sum())


def is_usable(photo: Rgb) -> bool:
    """Sharp, and neither eyes nor forehead far darker than the cheeks: no sunglasses, no caps."""
    grey = grey_of(photo).astype(np.float32)
    sharpness = cv2.Laplacian(grey, cv2.CV_32F)[30:100, 25:87].var()
    cheeks = (grey[66:78, 26:42].mean() + grey[66:78, 70:86].mean()) / 2
    eyes = (grey[46:58, 30:46].mean() + grey[46:58, 66:82].mean()) / 2
    darkest = min(eyes, grey[58:63, 28:84].mean(), grey[22:34, 36:76].mean())
    return bool(sharpness > 20 and darkest > 0.55 * cheeks and symmetry(photo) > 0.5)


def find_contributors(faces: Faces, oddness: Oddness) -> Iterator[Contributor]:
    order = np.argsort(faces.identity, kind="stable")
    identities, starts = np.unique(faces.identity[order], return_index=True)
    for identity, rows in zip(identities, np.split(order, starts[1:]), strict=True):
        if identity and len(rows) >= PICTURES:
            photos = usable_photos(faces, rows[:MOST_LOOKED_AT], oddness)
            if len(photos) >= PICTURES:
                traits = faces.traits[rows[:MOST_LOOKED_AT]].mean(axis=0)
                yield Contributor(str(identity), photos, traits)


def usable_photos(faces: Faces, rows: NDArray[np.int64], oddness: Oddness) -> tuple[Rgb, ...]:
    """The best few of one identity's photos: frontal, ordinary, typical of the identity."""
    centre = faces.teacher[rows].mean(axis=0)
    centre = centre / np.linalg.norm(centre)
    ranked = []
    for row in map(int, rows):
        photo, typical = faces.photo(row), float(faces.teacher[row] @ centre)
        odd = oddness(photo)
        if typical > 0.6 and odd < 0.52 and is_usable(photo):
            ranked.append((symmetry(photo) - 1.5 * odd + 1.5 * typical, row, photo))
    best = sorted(ranked, key=lambda entry: entry[:2], reverse=True)[: PICTURES + 2]
    return tuple(photo for *_, photo in best)


def group_alike(
    people: Sequence[Contributor], rng: np.random.Generator
) -> Iterator[tuple[Contributor, ...]]:
    """Groups of similar age and sex, each person in one group."""
    left = [people[i] for i in rng.permutation(len(people))]
    while len(left) >= CONTRIBUTORS:
        first, rest = left[0], left[1:]
        rest = sorted(rest, key=lambda person: float(np.abs(person.traits - first.traits).sum()))
        yield (first, *rest[: CONTRIBUTORS - 1])
        chosen = {first.identity} | {person.identity for person in rest[: CONTRIBUTORS - 1]}
        left = [person for person in left if person.identity not in chosen]
