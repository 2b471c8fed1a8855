"""What is told of a face beside its quality: only where asked for, in the photo's coordinates."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from face_models.align import TEMPLATE_112, template
from face_models.errors import WeightsError
from face_models.extras import SMALLEST_SHARE, Extras, Told, occluded_region
from face_models.pipeline import Pipeline, PipelineSettings
from face_models.spec import load_specs, write_specs
from face_models.training.restored.masks import masked

PEOPLE = Path(__file__).parents[1] / "data" / "people"

pytestmark = pytest.mark.training  # onnx, to make graphs


def graph(path, nodes, output, shape):
    rgb = helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["n", 3, 112, 112])
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
    numbers = {"channel": np.array([1]), "grey": np.array(100, np.float32)}
    numbers["years"] = np.eye(117, dtype=np.float32)[[34]]
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    made = helper.make_graph(nodes, "tiny", [rgb], [answer], constants)
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )


@pytest.fixture
def extended(weights):
    """`region` takes what is darker than 100 for hidden; `age` says 34 to everybody."""
    dark = [
        helper.make_node("ReduceMean", ["rgb", "channel"], ["mean"], keepdims=0),
        helper.make_node("Less", ["mean", "grey"], ["is_dark"]),
        helper.make_node("Cast", ["is_dark"], ["hidden"], to=TensorProto.FLOAT),
    ]
    graph(weights / "region.onnx", dark, "hidden", ["n", 112, 112])
    same = [helper.make_node("Identity", ["years"], ["told"])]
    graph(weights / "age.onnx", same, "told", [1, 117])
    write_specs(weights, {})
    return weights


def loaded(folder, *names):
    return Extras.load(names, load_specs(folder), folder, threads=1)


def lower_half_dark():
    crop = np.full((224, 224, 3), 200, dtype=np.uint8)
    crop[112:] = 20
    return crop


def test_nothing_is_told_unless_it_is_asked_for(extended):
    assert loaded(extended).tell(lower_half_dark(), TEMPLATE_112) == Told()


def test_a_region_is_told_in_the_photos_own_pixels(extended):
    landmarks = 3 * template(112) + np.float32([500, 200])  # the face three times as large

    told = loaded(extended, "region").tell(lower_half_dark(), landmarks)

    assert told.age_years is None
    assert told.occluded_region.share == pytest.approx(0.5)
    assert told.occluded_region.box == pytest.approx((500, 200 + 3 * 56, 3 * 111, 3 * 55), abs=0.1)


def test_an_age_is_the_expected_year(extended):
    assert loaded(extended, "age").tell(lower_half_dark(), TEMPLATE_112) == Told(age_years=34.0)


def test_a_face_with_nothing_before_it_has_no_region(extended):
    bright = np.full((224, 224, 3), 200, dtype=np.uint8)

    assert loaded(extended, "region").tell(bright, TEMPLATE_112).occluded_region is None


@pytest.mark.parametrize(("pixels", "told"), [(0.9, False), (1.1, True)])
def test_a_speck_is_no_region(pixels, told):
    hidden = np.zeros(112 * 112, dtype=bool)
    hidden[: round(pixels * SMALLEST_SHARE * hidden.size)] = True

    assert (occluded_region(hidden.reshape(112, 112), TEMPLATE_112) is not None) is told


def test_asking_for_a_graph_that_is_not_there_is_refused(weights):
    with pytest.raises(WeightsError, match="no age graph"):
        loaded(weights, "age")


def test_extras_of_another_name_are_refused(extended):
    path = extended / "model.json"
    path.write_text(path.read_text().replace('"age": {', '"mood": {'))

    with pytest.raises(WeightsError, match="mood"):
        load_specs(extended)


def test_an_extra_that_was_exchanged_is_refused(extended):
    (extended / "age.onnx").write_bytes(b"another")

    with pytest.raises(WeightsError, match="sha256"):
        loaded(extended, "age")


def test_the_shipped_region_graph_finds_a_mask_and_lets_bare_faces_be():
    """On composites, which are nobody; the mask drawn on the crop, as it was learnt."""
    pipeline = Pipeline.load(settings=PipelineSettings(extras=("region",)))
    photos = [min(folder.iterdir()) for folder in sorted(PEOPLE.iterdir())[:8]]
    faces = [pipeline.analyse(photo.read_bytes()).faces[0] for photo in photos]
    worn = [masked(face.crop, face.score, seed=1) for face in faces]

    told = [
        pipeline.extras.tell(one.face, face.landmarks).occluded_region
        for one, face in zip(worn, faces, strict=True)
    ]

    assert [face.told.occluded_region for face in faces] == [None] * 8
    shares = [one.region.mean() for one in worn]
    assert [region.share for region in told] == pytest.approx(shares, abs=0.05)


def test_by_default_a_pipeline_opens_no_extra_graph():
    assert Pipeline.load().extras == Extras()
