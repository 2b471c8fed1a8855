"""The phone page's copy of the detector, held against the weights that the servers use."""

import math
import re

import pytest

from face_models import detect
from face_models.spec import WEIGHTS_DIR
from tests.house.tree import ROOT
from tools.face_finder import DETECTOR, FINDER, packed, read_header, sha256_of


def test_the_phones_copy_is_made_of_the_shipped_detector():
    assert DETECTOR.samefile(WEIGHTS_DIR / "detector.onnx")
    assert read_header(FINDER.read_bytes())["detector_sha256"] == sha256_of(DETECTOR)


def test_it_is_what_the_tool_writes():
    assert FINDER.read_bytes() == packed(DETECTOR), "python -m tools.face_finder"


SCRIPT = ROOT / "gateway-server" / "gateway_server" / "phone" / "static" / "face-finder.js"
SHARED = {
    "CELL": detect.STRIDES[-1],
    "SIDE": detect.INPUT_SIDE_PX,
    "FINE_SIDE": detect.FINE_SIDES_PX[0],
    "COARSE_SIDE": detect.INPUT_SIDE_PX * detect.COARSE_SHARE,
    "COARSE_MARGIN": detect.INPUT_SIDE_PX * detect.COARSE_MARGIN_SHARE,
    "LARGE_PX": detect.LANDMARKS_NEED_PX,
    "COARSE_LOGIT": math.log(detect.COARSE_SCORE / (1 - detect.COARSE_SCORE)),
    "LEAST_LOGIT": math.log(detect.SCORE_THRESHOLD / (1 - detect.SCORE_THRESHOLD)),
    "LAST_RESORT_LOGIT": math.log(detect.LAST_RESORT_SCORE / (1 - detect.LAST_RESORT_SCORE)),
    "SAME_FACE_IOU": detect.SAME_FACE_IOU,
    "SAME_FACE_NESTING": detect.SAME_FACE_NESTING,
    "LARGEST_LOG_SIZE": detect.LARGEST_LOG_SIZE,
    "GREY": detect.GREY,
}


@pytest.mark.parametrize("name", SHARED)
def test_the_phone_looks_with_the_servers_numbers(name):
    stated = re.search(rf"^const {name} = (.+?);", SCRIPT.read_text(), re.MULTILINE)
    assert stated
    parts = re.fullmatch(r"Math\.log\((\S+) / (\S+)\)", stated[1])
    value = math.log(float(parts[1]) / float(parts[2])) if parts else float(stated[1])
    assert value == pytest.approx(SHARED[name])
