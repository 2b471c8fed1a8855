"""Every reason the gateway has for not doing what it was asked, and its answer (RFC 9457).

Problem                        one answer, its `type` is urn:reunite:problem:<slug>
├── Refusal                    the request is at fault; sending it again changes nothing
│   ├── AccessRefused          no key, a wrong key, a key of the wrong role, or too often
│   ├── FormRefused            the request's shape: multipart, fields, JSON, their number and size
│   ├── ValueRefused           one value in it: an option, a name, a date, a cursor
│   ├── PhotoRefused           the photo; decided here or, for faces, by the inference tier
│   ├── ImportRefused          a table, an archive, or one row of them
│   ├── NotFound               no such thing, or not yours to see
│   └── Conflict               not now, in this state
├── Outage                     something behind the gateway is away; 503 with Retry-After
│   ├── InferenceUnavailable   has several reasons for the failure's row
│   ├── DatabaseUnavailable
│   ├── PhotoStoreUnavailable
│   ├── CacheUnavailable       only a deletion asks for its confirmation
│   ├── TooBusy
│   └── NotReady
└── InternalError              a defect of ours; its traceback goes to the journal alone
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

TYPE_PREFIX = "urn:reunite:problem:"
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    slug: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str = "", **facts: object) -> None:
        """`detail` names the rule and the value; `facts` become members of the answer."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.facts = facts

    def about(self, **facts: object) -> Self:
        """The same problem with more facts, for example the search that it befell."""
        return type(self)(self.detail, **{**self.facts, **facts})

    @property
    def type(self) -> str:
        return TYPE_PREFIX + self.slug

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    def members(self, request_id: str) -> dict[str, Any]:
        return {**self.summary(), "request_id": request_id, **self.facts}

    def summary(self) -> dict[str, Any]:
        """The members that say what happened, without whose request it was."""
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }


class Refusal(Problem):
    pass


class AccessRefused(Refusal):
    pass


class Unauthorized(AccessRefused):
    slug, status, title = "unauthorized", 401, "A valid API key is needed"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="reunite"'}


class SessionEnded(Unauthorized):
    """It was a session of ours: nobody is guessing."""

    slug, title = "session-ended", "The session has ended; sign in again"


class Forbidden(AccessRefused):
    slug, status, title = "forbidden", 403, "This key's role may not do this"


class CrossSiteRefused(AccessRefused):
    slug, status, title = "cross-site-refused", 403, "The request did not come from our own page"


class RateLimited(AccessRefused):
    slug, status, title = "rate-limited", 429, "Too much was asked in too short a time"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.facts["retry_after_s"])}


class FormRefused(Refusal):
    pass


class BadRequest(FormRefused):
    slug, status, title = "bad-request", 400, "The request is not what is expected here"


class NotMultipart(FormRefused):
    slug, status, title = "not-multipart", 415, "The body must be multipart/form-data"


class BrokenMultipart(FormRefused):
    slug, status, title = "broken-multipart", 400, "The multipart body is damaged"


class RequestTooLarge(FormRefused):
    slug, status, title = "request-too-large", 413, "The request is too large"


class UploadTooSlow(FormRefused):
    slug, status, title = "upload-too-slow", 408, "The upload did not arrive in time"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Connection": "close"}


class UnknownField(FormRefused):
    slug, status, title = "unknown-field", 400, "The form has a field that is not known here"


class WrongPhotoField(FormRefused):
    slug, status, title = "wrong-photo-field", 400, "A file came under the wrong field name"


class RepeatedField(FormRefused):
    slug, status, title = "repeated-field", 400, "A field came more than once"


class FieldTooLong(FormRefused):
    slug, status, title = "field-too-long", 400, "A field is too long"


class ImportTooLarge(FormRefused):
    slug, status, title = "import-too-large", 413, "The import has too many bytes"


class ImportPartMissing(FormRefused):
    slug, status, title = "import-part-missing", 400, "The form lacks the table or the archive"


class PhotoMissing(FormRefused):
    slug, status, title = "photo-missing", 400, "The form has no photo"


class TooManyPhotos(FormRefused):
    slug, status, title = "too-many-photos", 400, "The form has too many photos"


class NotJson(FormRefused):
    slug, status, title = "not-json", 415, "The body must be application/json"


class NotForm(FormRefused):
    slug, status, title = "not-form", 415, "The body must be application/x-www-form-urlencoded"


class BrokenForm(FormRefused):
    slug, status, title = "broken-form", 400, "The form is damaged"


class BrokenJson(FormRefused):
    slug, status, title = "broken-json", 400, "The JSON body is damaged"


class InvalidBody(FormRefused):
    slug, status, title = "invalid-body", 422, "The JSON body does not have the documented shape"


class ValueRefused(Refusal):
    status = 422


class InvalidText(ValueRefused):
    slug, title = "invalid-text", "A text is not UTF-8 or holds control characters"


class InvalidName(ValueRefused):
    slug, title = "invalid-name", "A person needs a name"


class InvalidDate(ValueRefused):
    slug, title = "invalid-date", "A date is not a day of the calendar, written YYYY-MM-DD"


class InvalidTopK(ValueRefused):
    slug, title = "invalid-top-k", "top_k is out of range"


class InvalidModel(ValueRefused):
    slug, title = "invalid-model", "There is no such model"


class InvalidFaceIndex(ValueRefused):
    slug, title = "invalid-face-index", "face is not a face's number"


class InvalidCursor(ValueRefused):
    slug, title = "invalid-cursor", "The cursor is not one that this list gave"


class InvalidParameter(ValueRefused):
    slug, title = "invalid-parameter", "A query parameter is out of range"


class CandidateNotInSearch(ValueRefused):
    slug, title = "candidate-not-in-search", "This person is not a candidate of this search"


class InvalidIdempotencyKey(ValueRefused):
    slug, title = "invalid-idempotency-key", "An Idempotency-Key has 1 to 255 ASCII characters"


class IdempotencyKeyReused(ValueRefused):
    slug, title = "idempotency-key-reused", "This Idempotency-Key came with another request"


class SamePerson(ValueRefused):
    slug, title = "same-person", "A person cannot be merged with themselves"


class PhotoRefused(Refusal):
    status = 422


class EmptyPhoto(PhotoRefused):
    slug, status, title = "empty-photo", 400, "The photo is empty"


class PhotoTooLarge(PhotoRefused):
    slug, status, title = "photo-too-large", 413, "The photo has too many bytes"


class UnsupportedImageType(PhotoRefused):
    slug, status, title = "unsupported-image-type", 415, "The photo's type is not supported"


class UnreadableImage(PhotoRefused):
    slug, title = "unreadable-image", "The photo cannot be read"


class TooManyPixels(PhotoRefused):
    slug, title = "too-many-pixels", "The photo has too many pixels"


class NoFace(PhotoRefused):
    slug, title = "no-face", "No face was found in the photo"


class NoSuchFace(PhotoRefused):
    slug, title = "no-such-face", "The photo has no face of that number"


class FaceTooSmall(PhotoRefused):
    slug, title = "face-too-small", "The face is too small"


class QualityTooLow(PhotoRefused):
    slug, title = "quality-too-low", "The face's quality is too low"


class DuplicatePhoto(PhotoRefused):
    slug, status, title = "duplicate-photo", 409, "This person already has this photo"


class NoPhotoAccepted(PhotoRefused):
    slug, title = "no-photo-accepted", "None of the photos could be enrolled"


class ImportRefused(Refusal):
    status = 422


class InvalidTable(ImportRefused):
    slug, title = "invalid-table", "The table is not CSV in UTF-8 with the known columns"


class TooManyRows(ImportRefused):
    slug, status, title = "too-many-rows", 413, "The table has too many rows"


class BrokenArchive(ImportRefused):
    slug, title = "broken-archive", "The archive is not a ZIP that can be read"


class TooManyEntries(ImportRefused):
    slug, status, title = "too-many-entries", 413, "The archive has too many entries"


class InvalidRow(ImportRefused):
    slug, title = "invalid-row", "The row does not fit the table"


class UnsafePath(ImportRefused):
    slug, title = "unsafe-path", "The photo's name leads out of the import"


class PhotoNotInImport(ImportRefused):
    slug, title = "photo-not-in-import", "The import has no such photo"


class UnreadableEntry(ImportRefused):
    slug, title = "unreadable-entry", "The archive's entry cannot be read"


class AmbiguousReference(ImportRefused):
    slug, title = "ambiguous-reference", "Several people have this reference"


class NotFound(Refusal):
    slug, status, title = "not-found", 404, "There is nothing at this address"


class SearchNotFound(NotFound):
    slug, title = "search-not-found", "There is no such search"


class PersonNotFound(NotFound):
    slug, title = "person-not-found", "There is no such person"


class FaceNotFound(NotFound):
    slug, title = "face-not-found", "There is no such face"


class RemovalNotFound(NotFound):
    slug, title = "removal-not-found", "There is no such removal"


class ImportNotFound(NotFound):
    slug, title = "import-not-found", "There is no such import"


class FailureNotFound(NotFound):
    slug, title = "failure-not-found", "There is no such failure"


class KeyNotFound(NotFound):
    slug, title = "key-not-found", "There is no such key"


class MethodNotAllowed(Refusal):
    slug, status, title = "method-not-allowed", 405, "This address does not know that method"


class Conflict(Refusal):
    status = 409


class SearchNotDone(Conflict):
    slug, title = "search-not-done", "The search has no result"


class FailureResolved(Conflict):
    slug, title = "failure-resolved", "The failure has been resolved already"


class KeyEnded(Conflict):
    slug, title = "key-ended", "The key has been revoked or has expired"


class LastAdminKey(Conflict):
    slug, title = "last-admin-key", "This is the only admin's key that is valid"


class SecretShownBefore(Conflict):
    slug, title = "secret-shown-before", "The first answer showed a secret, which is kept nowhere"


class AnswerDeleted(Conflict):
    slug, title = "answer-deleted", "The first answer named a person or face deleted since"


class ImportConflict(Conflict):
    slug, title = "import-conflict", "Another import of the same folder has not ended"


class IdempotencyKeyInUse(Conflict):
    slug, title = "idempotency-key-in-use", "The first request with this key is under way"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class Outage(Problem):
    status = 503
    retry_after_s: ClassVar[int] = 5

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_s)}

    @property
    def reason(self) -> str:
        """What a failure's row says was the matter."""
        return self.slug

    @property
    def is_unasked(self) -> bool:
        """Nothing was asked of the tier: it is known to be away, whatever would be asked."""
        return False


class InferenceUnavailable(Outage):
    slug, title = "inference-unavailable", "The inference tier gave no answer"

    def __init__(self, detail: str = "", *, unasked: bool = False, **facts: object) -> None:
        """`facts["reason"]` is one of the inference client's, for example inference-timeout."""
        super().__init__(detail, **{"reason": "inference-unreachable", **facts})
        self._unasked = unasked

    @property
    def reason(self) -> str:
        return str(self.facts["reason"])

    @property
    def is_unasked(self) -> bool:
        return self._unasked


class DatabaseUnavailable(Outage):
    slug, title = "database-unavailable", "The gateway's database is away"


class PhotoStoreUnavailable(Outage):
    slug, title = "photo-store-unavailable", "The photo cannot be stored or read now"


class CacheUnavailable(Outage):
    slug, title = "cache-unavailable", "The cache of results is away"


class TooBusy(Outage):
    slug, title = "too-busy", "More is waiting to be worked off than is sensible"


class NotReady(Outage):
    slug, title = "not-ready", "The gateway is not ready"


class InternalError(Problem):
    slug, status, title = "internal-error", 500, "Something went wrong on our side"


def from_http_status(status: int, detail: str) -> Problem:
    """The problem behind a refusal that the web framework raised by itself."""
    return {404: NotFound, 405: MethodNotAllowed}.get(status, BadRequest)(detail)


def _leaves(kind: type[Problem]) -> Iterator[type[Problem]]:
    if "slug" in vars(kind):
        yield kind
    for child in kind.__subclasses__():
        yield from _leaves(child)


def named_problems(kind: type[Problem] = Problem) -> Mapping[str, type[Problem]]:
    """Every problem type below `kind` by its slug, as the OpenAPI document lists them."""
    return {leaf.slug: leaf for leaf in _leaves(kind)}
