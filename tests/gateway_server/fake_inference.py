"""An inference tier without networks: the agreed HTTP; its gallery compares photos by content."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "a token between two tiers"
MODELS = {"base": {"sha256": "b" * 64}, "heatmap": {"sha256": "c" * 64}}
FACE = {
    "index": 0,
    "box": [10.0, 8.0, 30.0, 36.0],
    "landmarks": [[18.0, 20.0], [32.0, 20.0], [25.0, 28.0], [20.0, 36.0], [30.0, 36.0]],
    "score": 0.97,
    "quality": 78,
    "warnings": [],
}
IMAGES = {"image/jpeg", "image/png", "image/webp", "image/heic"}
REFUSED_FACES = {"no-face", "face-too-small", "quality-too-low"}
LEAD_ABOVE = 0.8
CARD = "# Model card\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>alert(1)</script>\n"
Fault = Callable[[Request], Response]


@dataclass(frozen=True)
class Refusal:
    slug: str
    status: int


@dataclass
class FakeInference:
    """`gallery` is person id -> face id -> sha256 of the photo."""

    gallery: dict[str, dict[str, str]] = field(default_factory=dict)
    face_indices: dict[str, str | None] = field(default_factory=dict)
    version: int = 1
    models: dict[str, dict[str, str]] = field(default_factory=lambda: dict(MODELS))
    refusals: dict[str, Refusal] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)
    before_answer: Callable[[str], Awaitable[None]] | None = None

    def refuse(self, photo: bytes, slug: str, status: int = 422) -> None:
        self.refusals[hashlib.sha256(photo).hexdigest()] = Refusal(slug, status)

    def fail(self, operation: str, fault: Fault) -> None:
        """`operation` is the last word of a route, or `*` for all."""
        self.faults[operation] = fault

    def recover(self) -> None:
        self.faults.clear()

    def called(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.calls)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                self._route("ready", "/readyz", self._ready, "GET"),
                self._route("gallery", "/v1/gallery", self._gallery, "GET"),
                self._route("match", "/v1/match", self._match, "POST"),
                self._route("heatmap", "/v1/heatmap", self._heatmap, "POST"),
                self._route("faces", "/v1/faces", self._faces, "POST"),
                self._route("thumbnail", "/v1/thumbnail", self._thumbnail, "POST"),
                self._route("model", "/v1/model", self._model, "GET"),
                self._route("plot", "/v1/model/plots/{name}", self._plot, "GET"),
                self._route("put", "/v1/persons/{person_id}", self._put_person, "PUT"),
                self._route("delete", "/v1/persons/{person_id}", self._delete_person, "DELETE"),
                self._route("enrol", "/v1/persons/{person_id}/faces", self._enrol, "POST"),
                self._route(
                    "delete_face",
                    "/v1/persons/{person_id}/faces/{face_id}",
                    self._delete_face,
                    "DELETE",
                ),
            ]
        )

    def _route(
        self,
        operation: str,
        path: str,
        answer: Callable[[Request], Awaitable[Response]],
        method: str,
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            self.calls.append((operation, request.url.path))
            self.request_ids.append(request.headers.get("x-request-id"))
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return problem("unauthorized", 401)
            fault = self.faults.get(operation) or self.faults.get("*")
            if fault:
                return fault(request)
            if self.before_answer:
                await self.before_answer(operation)
            return await answer(request)

        return Route(path, endpoint, methods=[method])

    def _size(self) -> dict[str, int]:
        faces = sum(len(faces) for faces in self.gallery.values())
        return {"persons": len(self.gallery), "faces": faces, "version": self.version}

    async def _ready(self, request: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _gallery(self, request: Request) -> Response:
        return JSONResponse({**self._size(), "models": self.models})

    async def _match(self, request: Request) -> Response:
        sha256, options = await _read_sent(request)
        if sha256 in self.refusals:
            return self._refuse(sha256)
        top_k = int(options.get("top_k", "5"))
        candidates = self._rank(sha256)[:top_k]
        name = options.get("model", "heatmap")
        return JSONResponse(
            {
                "request_id": "made-by-the-inference-tier",
                "model": {"name": name, **self.models[name]},
                "gallery": self._size(),
                "faces": [FACE],
                "face": int(options.get("face", "0")),
                "warnings": [],
                "verdict": "lead" if _is_lead(candidates) else "no_credible_lead",
                "candidates": candidates,
                "timings_ms": {"decode": 1, "detect": 2, "embed": 3, "search": 4, "total": 10},
            }
        )

    def _rank(self, sha256: str) -> list[dict[str, Any]]:
        """Persons by their best face: 0.9 for the very photo, less for any other."""
        found = []
        for person_id, faces in self.gallery.items():
            scores = {face_id: _similarity(sha256, other) for face_id, other in faces.items()}
            if scores:
                face_id = max(scores, key=scores.__getitem__)
                found.append((scores[face_id], person_id, face_id))
        ranked = enumerate(sorted(found, reverse=True), start=1)
        return [_candidate(rank, *one) for rank, one in ranked]

    async def _heatmap(self, request: Request) -> Response:
        sha256, options = await _read_sent(request)
        label = f"{sha256} {options.get('model')} {options.get('face')}"
        return Response(b"\x89PNG\r\n\x1a\n" + label.encode(), media_type="image/png")

    async def _faces(self, request: Request) -> Response:
        """Nothing is demanded of the faces: only a photo that cannot be read is refused."""
        sha256, _ = await _read_sent(request)
        refusal = self.refusals.get(sha256)
        if refusal and refusal.slug not in REFUSED_FACES:
            return self._refuse(sha256)
        faces = [] if refusal and refusal.slug == "no-face" else [FACE]
        return JSONResponse(
            {
                "request_id": "made-by-the-inference-tier",
                "photo": {"width": 64, "height": 64},
                "faces": faces,
                "face": 0 if faces else None,
                "warnings": [],
                "timings_ms": {"decode": 1, "detect": 2, "total": 3},
            }
        )

    async def _thumbnail(self, request: Request) -> Response:
        sha256, options = await _read_sent(request)
        refusal = self.refusals.get(sha256)
        if refusal and refusal.slug not in REFUSED_FACES:
            return self._refuse(sha256)
        label = f"RIFF\0\0\0\0WEBP {sha256} {options.get('face')}"
        return Response(label.encode(), media_type="image/webp")

    async def _model(self, request: Request) -> Response:
        return JSONResponse(
            {
                "models": [{"name": name, **file} for name, file in self.models.items()],
                "lead_max_expected_false_matches": 0.1,
                "card": CARD,
                "plots": ["roc"],
                "curves": {"heatmap": {"similarity": [0.0, 0.5, 1.0], "fmr": [1.0, 1e-3, 1e-9]}},
            }
        )

    async def _plot(self, request: Request) -> Response:
        if request.path_params["name"] != "roc":
            return problem("not-found", 404)
        return Response(b"\x89PNG\r\n\x1a\n roc", media_type="image/png")

    async def _put_person(self, request: Request) -> Response:
        person_id = request.path_params["person_id"]
        existed = person_id in self.gallery
        faces = self.gallery.setdefault(person_id, {})
        body = {"person_id": person_id, "faces": list(faces)}
        return JSONResponse(body, status_code=200 if existed else 201)

    async def _enrol(self, request: Request) -> Response:
        sha256, options = await _read_sent(request)
        person_id = request.path_params["person_id"]
        if sha256 in self.refusals:
            return self._refuse(sha256)
        if person_id not in self.gallery:
            return problem("person-not-found", 404)
        face_id = options["face_id"]
        existed = face_id in self.gallery[person_id]
        if existed and self.face_indices[face_id] != options.get("face"):
            return problem("face-id-in-use", 409)
        self.gallery[person_id][face_id] = sha256
        self.face_indices[face_id] = options.get("face")
        self.version += not existed
        enrolled = {"person_id": person_id, "face_id": face_id, "gallery": self._size()}
        found = {name: FACE[name] for name in ("quality", "warnings", "box")}
        return JSONResponse(enrolled | found, status_code=200 if existed else 201)

    async def _delete_person(self, request: Request) -> Response:
        if self.gallery.pop(request.path_params["person_id"], None) is None:
            return problem("person-not-found", 404)
        self.version += 1
        return Response(status_code=204)

    async def _delete_face(self, request: Request) -> Response:
        faces = self.gallery.get(request.path_params["person_id"], {})
        if faces.pop(request.path_params["face_id"], None) is None:
            return problem("face-not-found", 404)
        self.version += 1
        return Response(status_code=204)

    def _refuse(self, sha256: str) -> Response:
        refusal = self.refusals[sha256]
        return problem(refusal.slug, refusal.status)


def problem(slug: str, status: int) -> Response:
    members = {
        "type": f"urn:reunite:problem:{slug}",
        "title": slug,
        "status": status,
        "detail": f"the inference tier says {slug}",
        "request_id": "made-by-the-inference-tier",
    }
    return JSONResponse(members, status_code=status, media_type="application/problem+json")


def _similarity(sha256: str, other: str) -> float:
    return 0.9 if sha256 == other else int(other[:4], 16) / 0xFFFF / 2


def _is_lead(candidates: list[dict[str, Any]]) -> bool:
    return bool(candidates) and candidates[0]["similarity"] > LEAD_ABOVE


def _candidate(rank: int, similarity: float, person_id: str, face_id: str) -> dict[str, Any]:
    return {
        "rank": rank,
        "person_id": person_id,
        "face_id": face_id,
        "similarity": similarity,
        "confidence": 0.998,
        "expected_false_matches": 0.004,
        "is_lead": similarity > LEAD_ABOVE,
    }


async def _read_sent(request: Request) -> tuple[str, dict[str, str]]:
    """The photo's sha256, and the options."""
    assert request.headers["content-type"] in IMAGES
    return hashlib.sha256(await request.body()).hexdigest(), dict(request.query_params)


def internal_error(request: Request) -> Response:
    return problem("internal-error", 500)


def store_unavailable(request: Request) -> Response:
    return problem("store-unavailable", 503)


def html_error(request: Request) -> Response:
    return Response("<html>502 Bad Gateway</html>", status_code=502, media_type="text/html")


def not_json(request: Request) -> Response:
    return Response(b"\xff\xfe{]", status_code=200, media_type="application/json")


def another_shape(request: Request) -> Response:
    return Response(json.dumps(["surprise"]), status_code=200, media_type="application/json")


def wrong_token(request: Request) -> Response:
    return problem("unauthorized", 401)
