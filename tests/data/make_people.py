"""Make the demo people: faces that look like faces and are nobody.

Every picture of a demo person is the landmark-aligned mean of one photo each of four real people,
a different photo of each for every picture, mixed with the mean of the person's four. README.md
beside this file has the set that was used and what was measured.

    python tests/data/make_people.py --train DIR --teacher FILE.onnx [--out tests/data/people]

DIR holds `faces-*.parquet` with columns image, identity, split, sex, age_years and teacher
(float16[128]). Needs numpy, opencv, onnxruntime, pillow and pyarrow.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from making.composites import compose, settle
from making.contributors import PICTURES, Oddness, find_contributors, group_alike
from making.faces import Faces, Floats, Teacher, read_faces
from making.portraits import DemoPerson, portray, select

SEED = 20
ORDINARY_PHOTOS = 4000  # that say what an ordinary face is
NAMES = """
    ada alba bela bo cato cleo dara dune edda elio fay finn gale gus hale ilse ivo jun kai kit lale
    lux mika milo nico noor oda otis pax pia quin rio rune sage sol tove uma vale wren yuki
""".split()  # noqa: SIM905 - forty lines of list say no more


def main() -> None:
    asked = read_arguments()
    faces, teacher = read_faces(asked.train), Teacher(asked.teacher)
    rng = np.random.default_rng(SEED)
    ordinary = rng.choice(len(faces.identity), ORDINARY_PHOTOS, replace=False)
    oddness = Oddness([faces.photo(int(row)) for row in ordinary])
    contributors = list(find_contributors(faces, oddness))
    composites = [
        settle(compose(group, faces, teacher, rng), teacher)
        for group in group_alike(contributors, rng)
    ]
    portraits = [
        portray(composite, teacher, np.random.default_rng((SEED, number)))
        for number, composite in enumerate(composites)
    ]
    people = dict(zip(NAMES, select(portraits, faces, len(NAMES)), strict=True))
    write(people, asked.out)
    made_of = {"possible_contributors": len(contributors), "composites_tried": len(composites)}
    print(json.dumps(made_of | measure(list(people.values()), faces), indent=1))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, help="folder with faces-*.parquet")
    parser.add_argument(
        "--teacher", type=Path, required=True, help="ONNX: rgb (n, 3, 112, 112) -> (n, 128)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "people")
    return parser.parse_args()


def write(people: Mapping[str, DemoPerson], out: Path) -> None:
    """out/demo-NAME/1.webp ..., and people.json beside out with the true landmarks."""
    landmarks = {}
    for name, person in people.items():
        folder = out / f"demo-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(person.pictures, start=1):
            (folder / f"{number}.webp").write_bytes(picture)
        landmarks[folder.name] = [points.round(1).tolist() for points in person.landmarks]
    truth = json.dumps({"seed": SEED, "landmarks": landmarks})
    (out.parent / "people.json").write_text(truth + "\n", encoding="utf-8")


def measure(people: Sequence[DemoPerson], faces: Faces) -> dict[str, float]:
    """What the teacher says about the pictures as written, aligned by their true landmarks."""
    seen = np.stack([person.embeddings for person in people])
    similarity = np.einsum("apd,bqd->abpq", seen, seen)
    same = np.eye(len(seen), dtype=bool)
    genuine = similarity[same][:, ~np.eye(PICTURES, dtype=bool)]
    held_out = similarity[:, :, -1, :-1].max(axis=2)
    real = np.concatenate([_contributor_cosines(person, faces) for person in people])
    return {
        "people": len(people),
        "genuine_cosine_min": float(genuine.min()),
        "genuine_cosine_median": float(np.median(genuine)),
        "impostor_cosine_median": float(np.median(similarity[~same])),
        "impostor_cosine_max": float(similarity[~same].max()),
        "rank_1_of_last_picture": float((held_out.argmax(axis=1) == np.arange(len(seen))).mean()),
        "contributor_photo_cosine_median": float(np.median(real)),
        "contributor_photo_cosine_max": float(real.max()),
        "any_training_photo_cosine_max": max(person.closest(faces.teacher) for person in people),
    }


def _contributor_cosines(person: DemoPerson, faces: Faces) -> Floats:
    photos = faces.teacher[np.isin(faces.identity, person.contributors)]
    return np.asarray(person.embeddings @ photos.T).ravel()


if __name__ == "__main__":
    main()
