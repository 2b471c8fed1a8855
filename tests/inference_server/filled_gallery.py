"""Many references at once, past the store's one transaction for each."""

from __future__ import annotations

from sqlalchemy import insert, update

from inference_server.gallery import ModelStamp
from inference_server.gallery.news import draw_mark
from inference_server.gallery.rows import row_of
from inference_server.gallery.store import SqlStore
from inference_server.gallery.tables import change, face, gallery, person
from tests.inference_server.references import reference, unit_vectors

FACES_PER_PERSON = 4
SAMENESS = 0.7  # of a person's faces: the cosine is about its square


def fill(store: SqlStore, faces: int, stamp: ModelStamp, seed: int = 40) -> None:
    """f00000 … of p00000 …, a version each; a person's faces resemble each other."""
    persons = faces // FACES_PER_PERSON + 1
    centres, noise = unit_vectors(persons, seed), unit_vectors(faces, seed + 1)
    rows = []
    for number in range(faces):
        owner = number // FACES_PER_PERSON
        vector = SAMENESS * centres[owner] + (1 - SAMENESS**2) ** 0.5 * noise[number]
        vector /= (vector @ vector) ** 0.5
        made = reference(f"p{owner:05}", f"f{number:05}", base=vector, heatmap=vector, stamp=stamp)
        rows.append({"version": number + 1, **row_of(made)})
    with store.writing() as connection:
        owners = [{"person_id": f"p{number:05}"} for number in range(persons)]
        connection.execute(insert(person), owners)
        connection.execute(insert(face), rows)
        connection.execute(update(gallery).values(version=faces))
        connection.execute(insert(change).values(version=faces, mark=draw_mark()))
