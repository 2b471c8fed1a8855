"""The phone page's copy of the detector, held against the weights that the servers use."""

from face_models.spec import WEIGHTS_DIR
from tools.face_finder import DETECTOR, FINDER, packed, read_header, sha256_of


def test_the_phones_copy_is_made_of_the_shipped_detector():
    assert DETECTOR.samefile(WEIGHTS_DIR / "detector.onnx")
    assert read_header(FINDER.read_bytes())["detector_sha256"] == sha256_of(DETECTOR)


def test_it_is_what_the_tool_writes():
    assert FINDER.read_bytes() == packed(DETECTOR), "python -m tools.face_finder"
