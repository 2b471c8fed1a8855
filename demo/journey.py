"""The phone's part of the demo: a gallery is enrolled, and the held-out photos are searched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from demo.people import Subject
from mobile_client_mock.answers import Search
from mobile_client_mock.client import Client
from mobile_client_mock.errors import Refused, UnusablePhoto
from mobile_client_mock.photo import Upload, shrink

T = TypeVar("T")


class Track(Protocol):
    """A progress bar, for example."""

    def __call__(self, sequence: Sequence[T], /) -> Iterable[T]: ...


@dataclass(frozen=True)
class Complaint:
    photo: Path
    reason: str


@dataclass(frozen=True)
class Enrolled:
    person_id: str  # the gateway's
    subject: Subject
    portrait: Path  # the first of their photos that was accepted
    faces: int  # how many were


@dataclass(frozen=True)
class Enrolment:
    people: tuple[Enrolled, ...]
    complaints: tuple[Complaint, ...]
    left_out: tuple[Subject, ...] = ()  # none of their photos was accepted

    @property
    def faces(self) -> int:
        return sum(one.faces for one in self.people)

    @property
    def portraits(self) -> Mapping[str, Path]:
        return {one.person_id: one.portrait for one in self.people}


@dataclass(frozen=True)
class Probe:
    person_id: str  # of whom it shows
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

    @property
    def at_rank_5(self) -> float:
        return self.rank_5 / self.probes if self.probes else 0.0


def enrol(client: Client, people: Sequence[Subject], track: Track = iter) -> Enrolment:
    """A photo that is refused is a complaint; a person without an accepted one is left out."""
    complaints: list[Complaint] = []
    tried = [(subject, _enrol_one(client, subject, complaints)) for subject in track(people)]
    return Enrolment(
        people=tuple(enrolled for _, enrolled in tried if enrolled),
        complaints=tuple(complaints),
        left_out=tuple(subject for subject, enrolled in tried if not enrolled),
    )


def search(client: Client, enrolment: Enrolment, track: Track = iter) -> Sequence[Probe]:
    """One search for each enrolled person with a held-out photo."""
    held_out = [one for one in enrolment.people if one.subject.probe]
    return [_probe(client, one) for one in track(held_out)]


def count_hits(probes: Sequence[Probe], left_out: Sequence[Subject] = ()) -> HitRate:
    """A refused probe is a miss; so is the held-out photo of somebody who was not enrolled."""
    ranks = [probe.rank for probe in probes if probe.rank is not None]
    count = len(probes) + sum(subject.probe is not None for subject in left_out)
    return HitRate(count, sum(rank == 1 for rank in ranks), sum(rank <= 5 for rank in ranks))


def _enrol_one(client: Client, subject: Subject, complaints: list[Complaint]) -> Enrolled | None:
    uploads = _take(subject.enrolled, complaints)
    photos = list(uploads)
    if not photos:
        return None
    try:
        person = client.enroll(subject.name, list(uploads.values()))
    except Refused as problem:
        complaints += [Complaint(photo, str(problem)) for photo in photos]
        return None
    refused = {photos[one.index]: one.reason for one in person.refused if one.index is not None}
    complaints += [Complaint(photo, reason) for photo, reason in refused.items()]
    accepted = next(photo for photo in photos if photo not in refused)
    return Enrolled(person.id, subject, accepted, len(photos) - len(refused))


def _take(photos: Sequence[Path], complaints: list[Complaint]) -> Mapping[Path, Upload]:
    uploads: dict[Path, Upload] = {}
    for photo in photos:
        try:
            uploads[photo] = shrink(photo)
        except UnusablePhoto as error:
            complaints.append(Complaint(photo, str(error)))
    return uploads


def _probe(client: Client, enrolled: Enrolled) -> Probe:
    photo = enrolled.subject.probe
    if photo is None:
        raise ValueError(f"{enrolled.subject.name} has no held-out photo")
    try:
        found = client.search(shrink(photo))
    except (Refused, UnusablePhoto) as error:
        return Probe(enrolled.person_id, photo, None, None, str(error))
    candidate = found.candidate(enrolled.person_id)
    return Probe(enrolled.person_id, photo, found, candidate.rank if candidate else None)
