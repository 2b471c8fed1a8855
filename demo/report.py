"""The demo's figures as a file, with where they come from."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from demo.journey import Enrolment, HitRate, Probe
from face_models.training.provenance import provenance


def write(path: Path, enrolment: Enrolment, probes: Sequence[Probe], hits: HitRate) -> None:
    """Shares are of all searches wanted; `refused` counts photos, to enrol and to search with."""
    document = {
        "persons": len(enrolment.people),
        "faces": enrolment.faces,
        "searches": hits.probes,
        "rank_1": hits.at_rank_1,
        "rank_5": hits.at_rank_5,
        "refused": len(enrolment.complaints) + sum(bool(probe.refusal) for probe in probes),
        "left_out": len(enrolment.left_out),
        "provenance": asdict(provenance("the last photo of everybody held out")),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
