"""Which change of the weights folder outdates which vectors and which kept answers."""

import pytest

from face_models.pipeline import Pipeline, PipelineSettings
from face_models.spec import digest_of, load_specs
from inference_server.face_pipeline import Fingerprints, fingerprints_of, stamp_of
from tests.inference_server.painted_people import (
    PaintedCalibration,
    PaintedEngine,
    painted_pipeline,
)
from tests.inference_server.references import CROPPING, GRAPHS, STAMP

NEW = "0" * 64
FLIPPED = PipelineSettings(flip=True)
HEATMAP = PipelineSettings(descriptor="heatmap")
BOTH = {"base", "heatmap"}

CHANGED = {  # what is new -> the models whose vectors, and those whose answers, are outdated
    "detector": (painted_pipeline(cropping_sha256s=(NEW, CROPPING[1])), BOTH, BOTH),
    "landmarks": (painted_pipeline(cropping_sha256s=(CROPPING[0], NEW)), BOTH, BOTH),
    "base": (painted_pipeline(PaintedEngine(graphs={**GRAPHS, "base": NEW})), BOTH, BOTH),
    "heatmap": (
        painted_pipeline(PaintedEngine(graphs={**GRAPHS, "heatmap": NEW})),
        {"heatmap"},
        {"heatmap"},
    ),
    "descriptor": (painted_pipeline(settings=HEATMAP), {"heatmap"}, {"heatmap"}),
    "flip": (painted_pipeline(settings=FLIPPED), BOTH, BOTH),
    "calibration": (painted_pipeline(calibration=PaintedCalibration(NEW)), set(), BOTH),
    "nothing": (painted_pipeline(), set(), set()),
}


@pytest.mark.parametrize(("pipeline", "vectors", "answers"), CHANGED.values(), ids=CHANGED)
def test_what_depends_on_a_changed_file_is_outdated_and_nothing_else(
    pipeline: Pipeline, vectors: set[str], answers: set[str]
):
    stamp, prints, before = stamp_of(pipeline), fingerprints_of(pipeline), painted_prints()
    assert {name for name in BOTH if getattr(stamp, name) != getattr(STAMP, name)} == vectors
    assert {name for name in BOTH if prints.answers[name] != before.answers[name]} == answers


def test_the_graphs_are_named_by_the_sha256_of_their_files():
    assert painted_prints().graphs == GRAPHS


def test_the_heatmap_network_has_no_part_in_the_heatmap_descriptor():
    other = PaintedEngine(graphs={**GRAPHS, "heatmap": NEW})
    stamps = [stamp_of(painted_pipeline(engine, HEATMAP)) for engine in (None, other)]
    assert stamps[0] == stamps[1]
    assert fingerprints_of(painted_pipeline(settings=HEATMAP)).graphs == {
        "base": GRAPHS["base"],
        "heatmap": GRAPHS["base"],
    }


def test_the_stamp_of_the_real_networks_is_made_of_all_four_files():
    specs = load_specs()
    crop = (specs.detector.sha256, specs.landmarks.sha256)
    base, heatmap = (specs.models[name].sha256 for name in ("base", "heatmap"))
    stamp = stamp_of(Pipeline.load())
    assert (stamp.base, stamp.heatmap) == (digest_of(*crop, base), digest_of(*crop, base, heatmap))


def painted_prints() -> Fingerprints:
    return fingerprints_of(painted_pipeline())
