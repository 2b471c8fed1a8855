"""The only place that talks to the inference tier; foreign errors end here.

    an answer                       -> one of inference_answers.py
    its refusal of the photo        -> the PhotoRefused of the same slug
    anything else, or no answer     -> InferenceUnavailable with one of the reasons below

Every call has its timeouts. All may be made twice (faces are enrolled under an id of our choosing),
so one whose connection was refused or lost is made again at once. One that timed out after it was
sent is not: the tier is busy enough with the first. When calls fail again and again, the breaker
refuses further ones before they are made; and before the one that finds out whether they succeed
again, the tier is asked whether it is ready. So a call that failed says something of its photo.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from gateway_server.breaker import Breaker
from gateway_server.inference_answers import (
    Answer,
    EnrolledFace,
    FacesFound,
    Gallery,
    Match,
    ModelTold,
)
from gateway_server.journal import headers_passed_on
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import StoredPhoto
from gateway_server.problems import (
    TYPE_PREFIX,
    InferenceUnavailable,
    PhotoRefused,
    Problem,
    named_problems,
)
from gateway_server.rounds import Rounds
from gateway_server.settings import Settings

UNREACHABLE = "inference-unreachable"
TIMEOUT = "inference-timeout"
FAILED = "inference-failed"
REJECTED = "inference-rejected"
GARBLED = "inference-garbled"
BREAKER_OPEN = "inference-breaker-open"
FACE_ID_IN_USE = "face-id-in-use"  # the same face was enrolled with another number

MOST_SHARE = 1000  # one look at the gallery
READY_TIMEOUT_S = 3.0  # whoever asks for readiness gives up soon
PAUSES_S = (0.05, 0.1)  # before the second attempt and the third, give or take a half
KEEPALIVE_EXPIRY_S = 1.0  # shorter than the server's, so that it is rarely the one to hang up
_LOST = (httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError)


A = TypeVar("A", bound=Answer)


def make_http(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    """One client, one pool; `transport` replaces the network."""
    return httpx.AsyncClient(
        base_url=settings.inference_url,
        headers={"Authorization": f"Bearer {settings.internal_token}"},
        timeout=httpx.Timeout(
            connect=settings.connect_timeout_s,
            read=settings.read_timeout_s,
            write=settings.write_timeout_s,
            pool=settings.pool_timeout_s,
        ),
        limits=httpx.Limits(
            max_connections=settings.inference_connections,
            max_keepalive_connections=settings.inference_connections,
            keepalive_expiry=KEEPALIVE_EXPIRY_S,
        ),
        transport=transport,
        trust_env=False,
    )


class InferenceClient:
    def __init__(self, http: httpx.AsyncClient, metrics: Metrics, breaker: Breaker) -> None:
        self._http = http
        self._metrics = metrics
        self._breaker = breaker
        self._galleries = Rounds(self._ask_gallery, MOST_SHARE)

    async def gallery(self) -> Gallery:
        """As it is after this was asked; those who ask while another question is out share one."""
        return await self._galleries.join(None)

    async def _ask_gallery(self, asked: Sequence[None]) -> Sequence[Gallery]:
        gallery = _read(Gallery, await self._call("gallery", "GET", "/v1/gallery"))
        return [gallery] * len(asked)

    async def match(self, photo: StoredPhoto, options: Mapping[str, object]) -> Match:
        sent = _sent(photo, options)
        return _read(Match, await self._call("match", "POST", "/v1/match", **sent))

    async def heatmap(self, photo: StoredPhoto, options: Mapping[str, object]) -> bytes:
        """A PNG: the aligned face under its heatmap."""
        sent = _sent(photo, options, Accept="image/png")
        return _picture(await self._call("heatmap", "POST", "/v1/heatmap", **sent), "image/png")

    async def faces(self, photo: StoredPhoto) -> FacesFound:
        """All of them, however poor."""
        return _read(FacesFound, await self._call("faces", "POST", "/v1/faces", **_sent(photo, {})))

    async def thumbnail(self, photo: StoredPhoto, face_index: int | None) -> bytes:
        """A small WebP: the face, or all of a photo without one."""
        sent = _sent(photo, {"face": face_index})
        return _picture(
            await self._call("thumbnail", "POST", "/v1/thumbnail", **sent), "image/webp"
        )

    async def model(self) -> ModelTold:
        return _read(ModelTold, await self._call("model", "GET", "/v1/model"))

    async def plot(self, name: str) -> bytes:
        """A PNG; `name` is one of `model`'s."""
        return _picture(await self._call("plot", "GET", f"/v1/model/plots/{name}"), "image/png")

    async def put_person(self, person_id: str) -> None:
        await self._call("put_person", "PUT", f"/v1/persons/{person_id}")

    async def enrol(
        self, person_id: str, face_id: str, photo: StoredPhoto, face_index: int | None
    ) -> EnrolledFace:
        sent = _sent(photo, {"face_id": face_id, "face": face_index})
        answer = await self._call("enrol", "POST", f"/v1/persons/{person_id}/faces", **sent)
        return _read(EnrolledFace, answer)

    async def delete_person(self, person_id: str) -> None:
        """Deleting one that is not there is no error: what was wanted is so."""
        await self._call("delete_person", "DELETE", f"/v1/persons/{person_id}", absent_is_well=True)

    async def delete_face(self, person_id: str, face_id: str) -> None:
        address = f"/v1/persons/{person_id}/faces/{face_id}"
        await self._call("delete_face", "DELETE", address, absent_is_well=True)

    async def check_ready(self) -> None:
        """Whatever the breaker says: it is asked for the truth."""
        _raise_for_problem(await self._send("GET", "/readyz", timeout=READY_TIMEOUT_S))

    async def _call(
        self,
        operation: str,
        method: str,
        address: str,
        *,
        absent_is_well: bool = False,
        **sent: Any,
    ) -> httpx.Response:
        started_s = time.perf_counter()
        outcome = "answered"
        try:
            answer = await self._send_unless_in_vain(method, address, **sent)
            if not (absent_is_well and answer.status_code == httpx.codes.NOT_FOUND):
                _raise_for_problem(answer)
        except InferenceUnavailable as outage:
            outcome = outage.reason
            raise
        except Problem as refusal:
            outcome = refusal.slug
            raise
        finally:
            duration_s = time.perf_counter() - started_s
            self._metrics.inference_called(operation, outcome, duration_s)
        return answer

    async def _send_unless_in_vain(self, method: str, address: str, **sent: Any) -> httpx.Response:
        if not self._breaker.begin():
            wait_s = self._breaker.refuses_for_s
            raise InferenceUnavailable(
                f"The inference tier has failed again and again; next look in {wait_s:.1f} s",
                reason=BREAKER_OPEN,
                unasked=True,
            )
        try:
            if self._breaker.is_probing:  # then this call is the one
                await self._check_worth_a_call()
            answer = await self._send(method, address, **sent)
        except InferenceUnavailable as outage:
            if isinstance(outage.__cause__, httpx.PoolTimeout):  # our own crowd, not its fault
                self._breaker.abandoned()
            else:
                self._breaker.failed()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.failed() if answer.is_server_error else self._breaker.succeeded()
        return answer

    async def _check_worth_a_call(self) -> None:
        """As patient as any call: a tier that is slow and ready shall not seem away."""
        try:
            _raise_for_problem(await self._send("GET", "/readyz"))
        except InferenceUnavailable as outage:
            away = InferenceUnavailable(outage.detail, reason=outage.reason, unasked=True)
            raise away from outage.__cause__

    async def _send(self, method: str, address: str, **sent: Any) -> httpx.Response:
        headers = {**sent.pop("headers", {}), **headers_passed_on()}
        try:
            return await self._insist(method, address, headers=headers, **sent)
        except httpx.HTTPError as error:
            raise _unavailable(error) from error

    async def _insist(self, method: str, address: str, **sent: Any) -> httpx.Response:
        for pause_s in PAUSES_S:
            with suppress(*_LOST):
                return await self._http.request(method, address, **sent)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        return await self._http.request(method, address, **sent)


def _sent(photo: StoredPhoto, options: Mapping[str, object], **headers: str) -> dict[str, Any]:
    """The photo as the whole body, the options in the address: no form to write and to read."""
    return {
        "content": photo.data,
        "headers": {"Content-Type": photo.media_type, **headers},
        "params": {name: value for name, value in options.items() if value is not None},
    }


def _unavailable(error: httpx.HTTPError) -> InferenceUnavailable:
    kind = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return InferenceUnavailable(f"The inference tier took too long ({kind})", reason=TIMEOUT)
    return InferenceUnavailable(
        f"The inference tier cannot be reached ({kind})", reason=UNREACHABLE
    )


def _raise_for_problem(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    slug, detail = _read_problem(answer)
    refusals = named_problems(PhotoRefused)
    if slug in refusals and answer.is_client_error:
        raise refusals[slug](detail)
    if slug == FACE_ID_IN_USE:
        raise InferenceUnavailable(detail, reason=FACE_ID_IN_USE)
    reason = FAILED if answer.is_server_error else REJECTED
    named = f"The inference tier answered {answer.status_code} ({slug or 'no problem type'})"
    raise InferenceUnavailable(named, reason=reason)


def _read_problem(answer: httpx.Response) -> tuple[str, str]:
    """Slug and detail; empty where the answer is no problem document."""
    try:
        members = answer.json()
    except ValueError:
        return "", ""
    if not isinstance(members, dict):
        return "", ""
    slug = str(members.get("type", "")).removeprefix(TYPE_PREFIX)
    return slug, str(members.get("detail", ""))


def _picture(answer: httpx.Response, media_type: str) -> bytes:
    if answer.headers.get("content-type") != media_type:
        raise InferenceUnavailable(f"The picture is not {media_type}", reason=GARBLED)
    return answer.content


def _read(kind: type[A], answer: httpx.Response) -> A:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        wrong = ", ".join(
            ".".join(map(str, part["loc"])) or part["type"] for part in error.errors()
        )
        raise InferenceUnavailable(
            f"The answer is not as agreed: {wrong}", reason=GARBLED
        ) from error
