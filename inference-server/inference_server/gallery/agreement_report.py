"""The agreement of an index, and of networks, as lines for an operator."""

from __future__ import annotations

from inference_server.gallery import ModelStamp
from inference_server.gallery.agreement import (
    Agreement,
    agreement_of,
    have_others,
    sample_faces,
    search_each,
    search_exactly,
    share_of_own_first,
)
from inference_server.gallery.ledger import Ledger, VersionedFaces
from inference_server.gallery.milvus_index import MilvusIndex


def compare_index(ledger: Ledger, index: MilvusIndex, model: str, probes: int) -> str:
    """The index against brute force over the truth, with the same networks."""
    faces = ledger.faces(sample_faces(ledger, index.stamp, probes), index.stamp)
    if not faces.face_ids:
        return f"{model}: nobody is enrolled."
    found = search_each(faces, model, index.nearest)
    exact = search_exactly(ledger, index.stamp, faces, model)
    return f"{model}: index and exact search, {_told(agreement_of(found, exact))}"


def compare_networks(
    ledger: Ledger, standing: ModelStamp, shadow: ModelStamp, model: str, probes: int
) -> str:
    """Both by brute force, on the same faces."""
    sampled = sample_faces(ledger, shadow, probes)
    by_standing = ledger.faces(sampled, standing)
    by_shadow = _in_order(ledger.faces(sampled, shadow), by_standing.face_ids)
    if not by_standing.face_ids:
        return f"{model}: no face has vectors of both networks."
    old = search_exactly(ledger, standing, by_standing, model)
    new = search_exactly(ledger, shadow, by_shadow, model)
    findable = have_others(ledger, standing, by_standing)
    own = [_share(share_of_own_first(by_standing, rankings, findable)) for rankings in (old, new)]
    return (
        f"{model}: standing and shadow networks, {_told(agreement_of(old, new))}; "
        f"own person first among {sum(findable)} with other photos: "
        f"standing {own[0]}, shadow {own[1]}"
    )


def _in_order(faces: VersionedFaces, face_ids: tuple[str, ...]) -> VersionedFaces:
    places = {face_id: place for place, face_id in enumerate(faces.face_ids)}
    return faces.picked([places[face_id] for face_id in face_ids])


def _told(agreement: Agreement) -> str:
    return (
        f"{agreement.probes} probes: top-1 {_share(agreement.top_1)}, "
        f"top-5 {_share(agreement.top_5)}"
    )


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"
