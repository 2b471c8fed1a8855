"""The gateway's answers as its contract writes them."""

from typing import Any

SEARCH: dict[str, Any] = {
    "id": "s-1",
    "status": "done",
    "cached": False,
    "request_id": "req-1",
    "model": {"name": "heatmap", "sha256": "0" * 64},
    "gallery": {"persons": 40, "faces": 120},
    "faces": [{"index": 0, "box": [10, 20, 30, 40], "landmarks": [[0, 0]] * 5, "quality": 78,
               "warnings": []}],
    "face": 0,
    "warnings": [],
    "verdict": "lead",
    "candidates": [
        {"rank": 1, "person_id": "p-ada", "name": "Ada [b]Example", "face_id": "f-1",
         "similarity": 0.71, "confidence": 0.998, "expected_false_matches": 0.004},
        {"rank": 2, "person_id": "p-bo", "name": None, "face_id": "f-2",
         "similarity": 0.31, "confidence": 0.4, "expected_false_matches": 120.4},
    ],
    "timings_ms": {"detect": 9.0, "embed": 20.0, "search": 0.1, "total": 45.0},
}  # fmt: skip
QUEUED: dict[str, Any] = {"id": "s-1", "status": "queued", "cached": False, "request_id": "req-1"}
PERSON: dict[str, Any] = {
    "id": "p-ada",
    "name": "Ada Example",
    "faces": [],
    "photos": [
        {"index": 0, "status": "enrolled", "face_id": "f-1"},
        {"index": 1, "status": "refused", "face_id": None,
         "problem": {"type": "urn:reunite:problem:no-face", "title": "No face", "status": 422,
                     "detail": "No face was found"}},
        {"index": 2, "status": "pending", "face_id": "f-3"},
    ],
}  # fmt: skip
