"""What a scenario's steps do, and what may be expected of their answers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mobile_client_mock.answers import Answer, Search
from mobile_client_mock.client import Client, SearchOptions
from mobile_client_mock.photo import Upload, read_original, shrink


@dataclass(frozen=True)
class Phone:
    client: Client
    folder: Path  # where the scenario's photos are
    sleep: Callable[[float], None]

    def take(self, photo: str, *, original: bool) -> Upload:
        return (read_original if original else shrink)(self.folder / photo)


@dataclass(frozen=True)
class EnrollStep:
    name: str
    photos: list[str]
    original: bool = False

    def play(self, phone: Phone) -> Answer:
        photos = [phone.take(photo, original=self.original) for photo in self.photos]
        return phone.client.enroll(self.name, photos).answer


@dataclass(frozen=True)
class SearchStep:
    photo: str
    top_k: int = 5
    model: str | None = None
    face: int | None = None
    original: bool = False

    def play(self, phone: Phone) -> Answer:
        options = SearchOptions(self.top_k, self.model, self.face)
        return phone.client.search(phone.take(self.photo, original=self.original), options).answer


@dataclass(frozen=True)
class FeedbackStep:
    search: str
    person: str
    verdict: str

    def play(self, phone: Phone) -> Answer:
        return phone.client.judge(self.search, self.person, self.verdict)


@dataclass(frozen=True)
class DeleteStep:
    person: str

    def play(self, phone: Phone) -> Answer:
        return phone.client.delete_person(self.person)


@dataclass(frozen=True)
class WaitStep:
    seconds: float

    def play(self, phone: Phone) -> Answer:
        phone.sleep(self.seconds)
        return Answer(0, {}, "")


@dataclass(frozen=True)
class ExpectStep:
    search: str

    def play(self, phone: Phone) -> Answer:
        return phone.client.get_search(self.search).answer


Step = EnrollStep | SearchStep | FeedbackStep | DeleteStep | WaitStep | ExpectStep
STEPS: Mapping[str, type[Step]] = {
    "enroll": EnrollStep,
    "search": SearchStep,
    "feedback": FeedbackStep,
    "delete": DeleteStep,
    "wait": WaitStep,
    "expect": ExpectStep,
}


@dataclass(frozen=True)
class Expectation:
    status: int | None = None
    problem: str | None = None  # no-face of urn:reunite:problem:no-face
    person: str | None = None  # of whom the next two speak
    rank_at_most: int | None = None
    similarity_at_least: float | None = None
    verdict: str | None = None
    cached: bool | None = None

    def unmet_by(self, answer: Answer) -> Iterator[str]:
        """Sentences about what was found instead."""
        if self.status is not None and answer.status != self.status:
            yield f"status is {answer.status}, not {self.status}"
        if self.problem is not None and answer.problem != self.problem:
            yield f"problem is {answer.problem or 'none'}, not {self.problem}"
        for name in ("verdict", "cached"):
            wanted, found = getattr(self, name), answer.document.get(name)
            if wanted is not None and found != wanted:
                yield f"{name} is {found}, not {wanted}"
        if self.person is not None:
            yield from self._unmet_by_candidates(Search.of(answer), self.person)

    def _unmet_by_candidates(self, search: Search, person_id: str) -> Iterator[str]:
        candidate = search.candidate(person_id)
        if candidate is None:
            yield f"{person_id} is not among the {len(search.candidates)} candidates"
            return
        if self.rank_at_most is not None and candidate.rank > self.rank_at_most:
            yield f"rank is {candidate.rank}, above {self.rank_at_most}"
        if self.similarity_at_least is not None and candidate.similarity < self.similarity_at_least:
            yield f"similarity is {candidate.similarity:.3f}, below {self.similarity_at_least}"

    @property
    def expects_refusal(self) -> bool:
        return self.problem is not None or (self.status or 0) >= 400
