"""What Schemathesis cannot know by itself; it imports this where SCHEMATHESIS_HOOKS names it.

Noise is no photo: forms get real ones, so that searches are answered and people are found, and
whatever follows from them is tried as well. What was answered is written to EXPLORED at the end.
"""

import atexit
import io
import json
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies

from mobile_client_mock.photo import shrink
from tests.system.drills.documented import NOT_SAYABLE
from tests.system.drills.estate import demo_people

OUR_KEYS = frozenset(os.environ["OUR_KEYS"].split(","))
NOBODYS_KEY = "0" * 12
_answers = Counter[tuple[str, int]]()
_excused = Counter[str]()


def _archive(photos: list[bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, photo in enumerate(photos):
            archive.writestr(f"{number}.jpg", photo)
    return packed.getvalue()


PHOTOS = [shrink(one.enrolled[0]).data for one in demo_people(3)]
TABLE = b"name,photo\nAda,0.jpg\nBo,1.jpg\nCato,missing.jpg\n"
schemathesis.openapi.media_type("image/jpeg", strategies.sampled_from(PHOTOS))
schemathesis.openapi.media_type("application/zip", strategies.just(_archive(PHOTOS)))
schemathesis.openapi.media_type("text/csv", strategies.just(TABLE))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Nobody revokes or rotates a key that one of us uses."""
    place = case.path_parameters or {}
    if str(place.get("key_id")) in OUR_KEYS:
        place["key_id"] = NOBODYS_KEY


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    _answers[case.operation.label, response.status_code] += 1


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Only refusals of valid data are ever excused."""
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    slug = response.json()["type"].rpartition(":")[2]
    if slug == "invalid-name" and _is_left_empty(case.body):
        return False
    _excused[slug] += slug in NOT_SAYABLE
    return slug not in NOT_SAYABLE


def _is_left_empty(form: Any) -> bool:
    """Schemathesis 4.32 does not fill required texts beside files, and thinks that valid."""
    return isinstance(form, dict) and form.get("name") == ""


@atexit.register
def _write() -> None:
    answers = [[*key, count] for key, count in sorted(_answers.items())]
    told = {"answers": answers, "excused": dict(+_excused)}
    Path(os.environ["EXPLORED"]).write_text(json.dumps(told), encoding="utf-8")
