"""The shipped networks, pinned: another build of a library must not change what they answer."""

import numpy as np
import pytest

from face_models.spec import WEIGHTS_DIR
from tests.models import golden

LARGEST_NETWORK_BYTES = 12_000_000
ALLOWED = {"landmarks": 0.05, "base": 1e-3, "heatmap": 1e-3, "maps": 5e-3}  # px, cosine parts, 0..1


@pytest.fixture(scope="module")
def answers():
    return golden.answers()


@pytest.mark.parametrize("name", ALLOWED)
def test_the_networks_answer_what_they_answered_when_they_were_shipped(answers, name):
    pinned = np.load(golden.FILE)[name]
    np.testing.assert_allclose(answers[name], pinned, rtol=0, atol=ALLOWED[name])


def test_the_pinned_answers_tell_people_apart():
    """Or any network that always says the same would pass."""
    for name in ("base", "heatmap"):
        vectors = np.load(golden.FILE)[name]
        assert (vectors @ vectors.T)[np.triu_indices(golden.PHOTOS, 1)].max() < 0.9


@pytest.mark.parametrize("file", sorted(WEIGHTS_DIR.glob("*.onnx")), ids=lambda file: file.name)
def test_every_network_is_small_enough_for_a_phone(file):
    assert file.stat().st_size < LARGEST_NETWORK_BYTES
