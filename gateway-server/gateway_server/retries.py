"""Making good what a failed call has left undone, when an operator asks for it."""

from gateway_server.database import Database
from gateway_server.enrolment import Enrolment
from gateway_server.failures import FailureLedger, Undone
from gateway_server.person_service import PersonService
from gateway_server.problems import FailureResolved, NotFound, PhotoRefused
from gateway_server.search_service import SearchService
from gateway_server.tables import Failure


class Retries:
    def __init__(
        self,
        database: Database,
        failures: FailureLedger,
        searches: SearchService,
        enrolment: Enrolment,
        persons: PersonService,
    ) -> None:
        self._database = database
        self._failures = failures
        self._searches = searches
        self._enrolment = enrolment
        self._persons = persons

    async def retry(self, failure_id: str) -> Failure:
        """The failure, resolved: a refusal is an answer too. Another outage is raised."""
        failure = await self._failures.get(failure_id)
        if failure.resolved_at is not None:
            raise FailureResolved(f"It ended as {failure.outcome}")
        undone = Undone(failure.kind, failure.search_id, failure.person_id, failure.face_id)
        try:
            await self._do(undone)
        except PhotoRefused:
            pass  # recorded as the failure's outcome where it was met
        except NotFound:
            await self._close(undone)
        return await self._failures.get(failure_id)

    async def _do(self, undone: Undone) -> None:
        match undone:
            case Undone(kind="search", search_id=str(search_id)):
                await self._searches.run_again(search_id)
            case Undone(kind="enrolment", face_id=str(face_id)):
                await self._enrolment.enrol_again(face_id)
            case Undone(kind="deletion", person_id=str(person_id), face_id=str(face_id)):
                await self._persons.delete_face(person_id, face_id)
            case Undone(kind="deletion", person_id=str(person_id)):
                await self._persons.delete_again(person_id)

    async def _close(self, undone: Undone) -> None:
        async with self._database.write() as session:
            await self._failures.resolve(session, undone, "deleted")
