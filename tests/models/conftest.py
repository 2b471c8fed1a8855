import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_networks import write_tiny_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """A weights folder of tiny networks, for reading only."""
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


@pytest.fixture
def weights(tiny_weights, tmp_path) -> Path:
    """A weights folder of tiny networks that a test may spoil."""
    return Path(shutil.copytree(tiny_weights, tmp_path / "weights"))


@pytest.fixture(scope="session")
def crops() -> np.ndarray:
    """Three face crops (3, 224, 224, 3) of noise."""
    return np.random.default_rng(seed=2).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
