"""Whether two ways to search name the same persons: an index and brute force, or two networks.

Probes are enrolled faces, each left out of the gallery while it is looked for (leave one out), so
that a person's other photos have to lead to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_server.gallery import Embedding, ModelStamp, Resemblance
from inference_server.gallery.index_audit import face_pages
from inference_server.gallery.ledger import Ledger, VersionedFaces
from inference_server.gallery.ranking import DECIMALS
from inference_server.gallery.rescoring import rank_persons

TOP_K: Final = 5
SEED: Final = 20260101

Ranking = Sequence[Resemblance]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Probes with the same first person, and the same among the first five persons; shares."""

    probes: int
    top_1: float
    top_5: float


def sample_faces(ledger: Ledger, stamp: ModelStamp, count: int, seed: int = SEED) -> list[str]:
    """At most `count` face_ids, each face as likely as any other (reservoir sampling)."""
    random, seen = Random(seed), 0  # noqa: S311 - a sample, not a secret
    chosen: list[str] = []
    for page in face_pages(ledger, stamp):
        for face_id in page.face_ids:
            seen += 1
            if len(chosen) < count:
                chosen.append(face_id)
            elif (place := random.randrange(seen)) < count:
                chosen[place] = face_id
    return sorted(chosen)


def agreement_of(some: Sequence[Ranking], others: Sequence[Ranking]) -> Agreement:
    pairs = [(persons_of(one), persons_of(other)) for one, other in zip(some, others, strict=True)]
    told = [(one, other) for one, other in pairs if one or other]
    if not told:
        return Agreement(0, 1.0, 1.0)
    return Agreement(
        probes=len(told),
        top_1=float(np.mean([one[:1] == other[:1] for one, other in told])),
        top_5=float(
            np.mean([len({*a} & {*b}) / max(len(a), len(b)) for a, b in told]),
        ),
    )


def share_of_own_first(
    probes: VersionedFaces, rankings: Sequence[Ranking], findable: Sequence[bool]
) -> float | None:
    """Rank-1: how often a person's other photos come first; None if nobody has others."""
    firsts = [
        persons_of(ranking)[:1] == [person_id]
        for person_id, ranking, has_others in zip(
            probes.person_ids, rankings, findable, strict=True
        )
        if has_others
    ]
    return float(np.mean(firsts)) if firsts else None


def have_others(ledger: Ledger, stamp: ModelStamp, probes: VersionedFaces) -> list[bool]:
    """Of each probe: whether its person has another face."""
    wanted = frozenset(probes.person_ids)
    faces = Counter(
        person_id
        for page in face_pages(ledger, stamp)
        for person_id in page.person_ids
        if person_id in wanted
    )
    return [faces[person_id] > 1 for person_id in probes.person_ids]


def persons_of(ranking: Ranking) -> list[str]:
    return [one.person_id for one in ranking]


def search_each(
    probes: VersionedFaces,
    model: str,
    nearest: Callable[[str, Embedding, int, str], list[Resemblance]],
) -> list[Ranking]:
    """By an index; `nearest` is told which face to leave out."""
    rows = zip(probes.face_ids, probes.vectors[model], strict=True)
    return [nearest(model, vector, TOP_K, face_id) for face_id, vector in rows]


def search_exactly(
    ledger: Ledger, stamp: ModelStamp, probes: VersionedFaces, model: str
) -> list[Ranking]:
    """Every probe against every face of the truth, a page at a time."""
    boards: list[list[Resemblance]] = [[] for _ in probes.face_ids]
    for page in face_pages(ledger, stamp):
        products = page.vectors[model] @ probes.vectors[model].T
        similarities = products.astype(np.float64).clip(-1, 1).round(DECIMALS)
        for number, board in enumerate(boards):
            rows = _contenders(page, similarities[:, number], board, probes.face_ids[number])
            found = rank_persons(model, probes.vectors[model][number], page.picked(rows))
            boards[number] = _merged(board, found)
    return list(boards)


def _contenders(
    page: VersionedFaces, similarities: NDArray[np.float64], board: Ranking, but: str
) -> list[int]:
    """The page's rows that may enter the board."""
    floor = board[-1].similarity if len(board) == TOP_K else -np.inf
    rows = np.flatnonzero(similarities >= floor).tolist()
    return [row for row in rows if page.face_ids[row] != but]


def _merged(one: Ranking, other: Ranking) -> list[Resemblance]:
    """The first five persons of both; whoever is in the whole's is in their own page's."""
    best: dict[str, Resemblance] = {}
    for found in sorted([*one, *other], key=lambda r: (-r.similarity, r.person_id, r.face_id)):
        best.setdefault(found.person_id, found)
    return list(best.values())[:TOP_K]
