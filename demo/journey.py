"""The phone's part of the demo: a gallery is enrolled, and the held-out photos are searched."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.people import Subject
from mobile_client_mock.answers import Search
from mobile_client_mock.client import Client
from mobile_client_mock.errors import Refused, UnusablePhoto
from mobile_client_mock.photo import Upload, shrink

Track = Callable[[Sequence[Subject]], Iterable[Subject]]  # a progress bar, for example


@dataclass(frozen=True)
class Complaint:
    photo: Path
    reason: str


@dataclass(frozen=True)
class Enrolment:
    """Who is in the gallery now, by the id that the gateway gave, and what it would not take."""

    subjects: Mapping[str, Subject] = field(default_factory=dict)
    faces: int = 0
    complaints: tuple[Complaint, ...] = ()


@dataclass(frozen=True)
class Probe:
    subject: Subject
    photo: Path
    search: Search | None  # none where the photo was refused
    rank: int | None  # of the right person; none where they are not among the candidates
    refusal: str = ""


@dataclass(frozen=True)
class HitRate:
    probes: int
    rank_1: int
    rank_5: int

    @property
    def at_rank_1(self) -> float:
        return self.rank_1 / self.probes if self.probes else 0.0


def enrol(client: Client, people: Sequence[Subject], track: Track = iter) -> Enrolment:
    """A photo that is refused is a complaint; a person without an accepted one is left out."""
    subjects: dict[str, Subject] = {}
    complaints: list[Complaint] = []
    faces = 0
    for subject in track(people):
        uploads, unusable = _take(subject.enrolled)
        complaints += unusable
        if not uploads:
            continue
        photos = list(uploads)
        try:
            person = client.enroll(subject.name, list(uploads.values()))
        except Refused as problem:
            complaints += [Complaint(photo, str(problem)) for photo in photos]
            continue
        subjects[person.id] = subject
        faces += person.faces
        complaints += [Complaint(photos[one.index], one.reason) for one in person.refused]
    return Enrolment(subjects, faces, tuple(complaints))


def search(client: Client, enrolment: Enrolment, track: Track = iter) -> Sequence[Probe]:
    """One search for each enrolled person with a held-out photo."""
    ids = {subject: person_id for person_id, subject in enrolment.subjects.items()}
    return [_probe(client, subject, ids[subject]) for subject in track([s for s in ids if s.probe])]


def count_hits(probes: Sequence[Probe]) -> HitRate:
    """A refused probe is a miss."""
    ranks = [probe.rank for probe in probes if probe.rank is not None]
    return HitRate(len(probes), sum(rank == 1 for rank in ranks), sum(rank <= 5 for rank in ranks))


def _take(photos: Sequence[Path]) -> tuple[dict[Path, Upload], list[Complaint]]:
    uploads: dict[Path, Upload] = {}
    complaints = []
    for photo in photos:
        try:
            uploads[photo] = shrink(photo)
        except UnusablePhoto as error:
            complaints.append(Complaint(photo, str(error)))
    return uploads, complaints


def _probe(client: Client, subject: Subject, person_id: str) -> Probe:
    if subject.probe is None:
        raise ValueError(f"{subject.name} has no held-out photo")
    try:
        found = client.search(shrink(subject.probe))
    except (Refused, UnusablePhoto) as error:
        return Probe(subject, subject.probe, None, None, str(error))
    candidate = found.candidate(person_id)
    return Probe(subject, subject.probe, found, candidate.rank if candidate else None)
