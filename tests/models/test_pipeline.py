import dataclasses
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from face_models import errors
from face_models.align import TEMPLATE_112
from face_models.calibration import UNCALIBRATED
from face_models.detect import SCORE_THRESHOLD, Detection
from face_models.engine import Engine
from face_models.photo import PhotoLimits
from face_models.pipeline import (
    DOUBTFUL_MIN_QUALITY,
    RIVAL_RATIO,
    SEVERAL_FACES,
    Analysis,
    Pipeline,
    PipelineSettings,
    prominence,
)
from face_models.quality import assess
from face_models.spec import MODEL_NAMES
from tests.models import tiny_networks
from tests.models.pictures import encoded, marked, shaded, turned

BOX_112 = (24.0, 20.0, 64.0, 88.0)  # around the template's landmarks


def face_at(x, y, width_px=64.0, score=0.9):
    """A frontal face whose box has this centre and width, in pixels of the decoded photo."""
    scale = width_px / BOX_112[2]
    corner = np.array([x, y]) - scale * np.array(BOX_112[2:]) / 2
    landmarks = (TEMPLATE_112 - BOX_112[:2]) * scale + corner
    box = (*corner.tolist(), width_px, scale * BOX_112[3])
    return Detection(box=box, score=score, landmarks=landmarks.astype(np.float32))


class FixedDetector:
    """Finds the same faces in every photo, and remembers the photos."""

    def __init__(self, *faces):
        self.faces = list(faces)
        self.seen = []

    def detect(self, rgb):
        self.seen.append(rgb)
        return self.faces


@pytest.fixture(scope="module")
def engine(tiny_weights):
    return Engine(tiny_weights)


@pytest.fixture
def pipeline_with(engine):
    def make(*faces, min_quality=0, **settings):
        demands = PipelineSettings(min_quality=min_quality, **settings)
        return Pipeline(FixedDetector(*faces), engine, demands)

    return make


@pytest.fixture(scope="module")
def photo():
    """400 x 300 pixels of grain: nothing in it is a face, or of any quality."""
    grain = np.random.default_rng(seed=8).normal(128, 40, (300, 400, 3))
    return encoded(Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)), "PNG")


def test_a_photo_becomes_faces_with_their_crops(pipeline_with, photo):
    analysis = pipeline_with(face_at(200, 150)).analyse(photo)
    (face,) = analysis.faces
    assert (analysis.width, analysis.height, analysis.best, analysis.warnings) == (400, 300, 0, ())
    assert (face.index, face.score) == (0, 0.9)
    assert face.crop.shape == (224, 224, 3)
    assert face.box == pytest.approx((168, 106, 64, 88))
    np.testing.assert_allclose(face.landmarks, face_at(200, 150).landmarks)
    quality = assess(face.crop, face_at(200, 150))
    assert (face.quality, face.warnings) == (quality.score, quality.reasons)


def test_the_crop_shows_the_face_that_was_found(pipeline_with):
    crop = pipeline_with(face_at(300, 225, 96)).analyse(encoded(shaded(400, 300), "PNG"))
    red, green, _ = crop.faces[0].crop.astype(float).mean(axis=(0, 1))
    middle = (np.array([56, 56]) - BOX_112[:2] - np.array(BOX_112[2:]) / 2) * 96 / 64 + [300, 225]
    assert red == pytest.approx(255 * middle[0] / 400, abs=2)
    assert green == pytest.approx(255 * middle[1] / 300, abs=2)


def test_coordinates_are_those_of_the_full_upright_photo(pipeline_with):
    limits = PhotoLimits(target_side_px=100)
    pipeline = pipeline_with(face_at(50, 37, 32), limits=limits)
    sideways = shaded(400, 300).transpose(Image.Transpose.ROTATE_90)
    analysis = pipeline.analyse(encoded(sideways, "JPEG", exif=turned(6)))
    assert pipeline.detector.seen[0].shape == (75, 100, 3)
    assert (analysis.width, analysis.height, analysis.scale) == (400, 300, 0.25)
    assert analysis.faces[0].box == pytest.approx((136, 60, 128, 176))
    np.testing.assert_allclose(analysis.faces[0].landmarks, 4 * face_at(50, 37, 32).landmarks)


def test_a_photo_without_faces_is_analysed_and_refused_when_choosing(pipeline_with, photo):
    pipeline = pipeline_with()
    analysis = pipeline.analyse(photo)
    assert (analysis.faces, analysis.best, analysis.warnings) == ((), None, ())
    with pytest.raises(errors.NoFace):
        pipeline.choose(analysis)
    with pytest.raises(errors.NoFace):
        pipeline.choose(analysis, 0)


ORDERS = {  # which of two faces comes first
    "the larger": (face_at(200, 150, 80), face_at(200, 150, 50)),
    "the more central": (face_at(180, 150), face_at(60, 60)),
    "the more certain": (face_at(180, 150, score=0.95), face_at(220, 150, score=0.6)),
    "the one inside the picture": (face_at(340, 150), face_at(395, 150)),
    "a large one beside a small central one": (face_at(120, 150, 120), face_at(200, 150, 40)),
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("turned_around", [False, True])
def test_the_most_prominent_face_comes_first(pipeline_with, photo, name, turned_around):
    faces = ORDERS[name]
    detected = reversed(faces) if turned_around else faces
    analysis = pipeline_with(*detected).analyse(photo)
    np.testing.assert_array_equal(analysis.faces[0].landmarks, faces[0].landmarks)
    assert [face.index for face in analysis.faces] == [0, 1]
    assert analysis.best == 0


def test_prominence_is_area_times_score_times_centrality():
    photo = np.zeros((300, 400, 3), np.uint8)
    central = Detection((150, 100, 100, 100), 0.8, TEMPLATE_112)
    halfway = Detection((50, 25, 100, 100), 0.8, TEMPLATE_112)
    outside = Detection((-200, 100, 100, 100), 0.8, TEMPLATE_112)
    assert prominence(central, photo) == pytest.approx(8000)
    assert prominence(halfway, photo) == pytest.approx(4000)
    assert prominence(outside, photo) == 0


def side_by_side(ratio):
    """Two faces at the same distance from the middle, with areas of this ratio."""
    return face_at(150, 150, 64), face_at(250, 150, 64 * ratio**0.5)


@pytest.mark.parametrize(
    ("ratio", "warnings"),
    [
        (1.0, (SEVERAL_FACES,)),
        (RIVAL_RATIO + 0.01, (SEVERAL_FACES,)),
        (RIVAL_RATIO - 0.01, ()),
        (0.1, ()),
    ],
)
def test_two_about_equally_good_faces_are_never_chosen_between_in_silence(
    pipeline_with, photo, ratio, warnings
):
    analysis = pipeline_with(*side_by_side(ratio)).analyse(photo)
    assert analysis.warnings == warnings
    assert analysis.warnings_for(None) == warnings


def test_a_caller_who_names_a_face_is_not_warned(pipeline_with, photo):
    analysis = pipeline_with(*side_by_side(1)).analyse(photo)
    assert analysis.warnings_for(1) == ()


def test_the_best_face_is_chosen_unless_the_caller_names_another(pipeline_with, photo):
    pipeline = pipeline_with(face_at(200, 150, 80), face_at(60, 150, 50))
    analysis = pipeline.analyse(photo)
    assert pipeline.choose(analysis) is analysis.faces[0]
    assert pipeline.choose(analysis, 1) is analysis.faces[1]


@pytest.mark.parametrize("index", [-1, 2, 99])
def test_a_face_that_is_not_there_is_refused(pipeline_with, photo, index):
    pipeline = pipeline_with(*side_by_side(1))
    with pytest.raises(errors.NoSuchFace, match=str(index)):
        pipeline.choose(pipeline.analyse(photo), index)


@pytest.mark.parametrize(("width_px", "accepted"), [(31.9, False), (32.1, True)])
def test_a_face_below_the_smallest_size_is_refused(pipeline_with, photo, width_px, accepted):
    pipeline = pipeline_with(face_at(200, 150, width_px), min_face_px=32)
    analysis = pipeline.analyse(photo)
    if accepted:
        assert pipeline.choose(analysis).index == 0
    else:
        with pytest.raises(errors.FaceTooSmall, match="32"):
            pipeline.choose(analysis)


def test_the_smallest_size_counts_decoded_pixels(pipeline_with):
    limits = PhotoLimits(target_side_px=100)
    pipeline = pipeline_with(face_at(50, 37, 30), min_face_px=32, limits=limits)
    analysis = pipeline.analyse(encoded(shaded(400, 300), "JPEG"))
    assert min(analysis.faces[0].box[2:]) == pytest.approx(120)
    with pytest.raises(errors.FaceTooSmall, match="30 px"):
        pipeline.choose(analysis)


def test_a_face_of_too_low_quality_is_refused_with_its_reasons(pipeline_with):
    pipeline = pipeline_with(face_at(200, 150), min_quality=10)
    analysis = pipeline.analyse(encoded(Image.new("RGB", (400, 300), "grey"), "PNG"))
    assert "sharpness" in analysis.faces[0].warnings
    with pytest.raises(errors.QualityTooLow, match="sharpness"):
        pipeline.choose(analysis)


def test_a_face_that_is_as_doubtful_as_it_is_poor_is_refused(pipeline_with):
    grey = encoded(Image.new("RGB", (400, 300), "grey"), "PNG")
    sure = pipeline_with(face_at(200, 150, score=SCORE_THRESHOLD))
    assert sure.choose(sure.analyse(grey)).quality < DOUBTFUL_MIN_QUALITY
    doubtful = pipeline_with(face_at(200, 150, score=SCORE_THRESHOLD - 0.01))
    with pytest.raises(errors.QualityTooLow):
        doubtful.choose(doubtful.analyse(grey))


def test_the_best_face_is_refused_rather_than_silently_replaced(pipeline_with, photo):
    pipeline = pipeline_with(face_at(200, 150, 60), face_at(100, 150, 40), min_face_px=50)
    analysis = pipeline.analyse(photo)
    shrunk = dataclasses.replace(analysis, scale=0.5)
    with pytest.raises(errors.FaceTooSmall, match="Face 0"):
        pipeline.choose(shrunk)


NOT_FACES = {
    "landmarks in one point": Detection((10, 10, 50, 60), 0.9, np.full((5, 2), 30, np.float32)),
    "landmarks that are no numbers": Detection(
        (10, 10, 50, 60), 0.9, np.full((5, 2), np.nan, np.float32)
    ),
    "an endless box": Detection((10, 10, np.inf, 60), 0.9, TEMPLATE_112),
}


@pytest.mark.parametrize("name", NOT_FACES)
def test_what_cannot_be_aligned_is_no_face(pipeline_with, photo, name):
    analysis = pipeline_with(NOT_FACES[name], face_at(200, 150)).analyse(photo)
    assert len(analysis.faces) == 1


def test_a_face_over_the_edge_is_still_a_face(pipeline_with, photo):
    (face,) = pipeline_with(face_at(5, 5)).analyse(photo).faces
    assert face.box[0] < 0
    assert face.crop.shape == (224, 224, 3)


def test_the_chosen_faces_are_embedded_in_their_order(pipeline_with, photo):
    pipeline = pipeline_with(face_at(200, 150, 80), face_at(60, 60, 50))
    faces = pipeline.analyse(photo).faces
    found = pipeline.embed([faces[1], faces[0]])
    crops = np.stack([faces[1].crop, faces[0].crop])
    np.testing.assert_allclose(found.heatmap, tiny_networks.expected_heatmap(crops), atol=1e-5)


@pytest.mark.parametrize("models", [("base",), MODEL_NAMES])
def test_no_faces_have_no_embeddings(pipeline_with, models):
    found = pipeline_with().embed([], models)
    assert (found.base.shape, found.heatmap.shape) == ((0, 128), (0, 128))


def test_every_step_is_timed(pipeline_with, photo):
    timings = pipeline_with(face_at(200, 150)).analyse(photo).timings_ms
    assert list(timings) == ["decode", "detect", "align"]
    assert all(value > 0 for value in timings.values())


def test_the_photos_own_refusals_pass_through(pipeline_with):
    with pytest.raises(errors.TooManyPixels):
        pipeline_with(limits=PhotoLimits(max_pixels=100)).analyse(encoded(marked(), "PNG"))


def test_a_pipeline_without_calibration_says_so(pipeline_with):
    assert pipeline_with().calibration is UNCALIBRATED


def test_a_detector_that_is_no_graph_is_refused_at_start(tiny_weights):
    with pytest.raises(errors.WeightsError):
        Pipeline.load(tiny_weights)


@pytest.mark.parametrize("name", ["detector", "landmarks"])
def test_a_changed_detector_is_refused_at_start(weights, name):
    (weights / f"{name}.onnx").write_bytes(b"another detector")
    with pytest.raises(errors.WeightsError, match="sha256"):
        Pipeline.load(weights)


def test_an_analysis_is_complete_without_a_scale():
    analysis = Analysis(4, 3, (), None, (), MappingProxyType({}))
    assert analysis.scale == 1
