"""The networks of finished runs, ready to answer; and what a masked face becomes by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from face_models.extras import SMALLEST_SHARE
from face_models.training.augment import Faces
from face_models.training.checkpoint import Trained
from face_models.training.data import FACE_PX
from face_models.training.pixels import enlarged
from face_models.training.restored.lessons import (
    as_planes,
    as_region,
    found_regions,
    grown,
)
from face_models.training.restored.masks import Region
from face_models.training.restored.networks import (
    AgeNetwork,
    RegionNetwork,
    Restorer,
    expected_years,
    on_base,
)
from face_models.training.restored.settings import (
    AgeSettings,
    RegionSettings,
    RestorationSettings,
    Run,
    read_run,
)
from face_models.training.restored.train import CONFIG_FILE, HEAD

MARGIN_PX: Final = 2  # a mask's edge is soft, and a found one is off by a pixel
BATCH: Final = 64

Years = NDArray[np.float32]


@dataclass(frozen=True)
class AgeTeller:
    run: str
    network: AgeNetwork
    input_px: int

    @torch.no_grad()
    def __call__(self, faces: Faces) -> Years:
        """(n,) years."""
        parts = [
            expected_years(self.network(enlarged(batch, self.input_px)))
            for batch in _batches(faces)
        ]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


@dataclass(frozen=True)
class Restoration:
    """Finds what hides a face and fills it in."""

    region: RegionNetwork
    restorer: Restorer

    def found(self, faces: Faces) -> Region:
        """(n, 112, 112); empty where too little is hidden to speak of."""
        return reported(found_regions(self.region, faces))

    def restored(self, faces: Faces, region: Region) -> Faces:
        return self._filled(faces, region, self.restorer)

    def averaged(self, faces: Faces, region: Region) -> Faces:
        """The mean training face in the region: what anybody could put there."""

        def fill(rgb: Tensor, hole: Tensor) -> Tensor:
            return rgb * (1 - hole) + self.restorer.averaged(rgb, hole) * hole

        return self._filled(faces, region, fill)

    @torch.no_grad()
    def _filled(self, faces: Faces, region: Region, fill: Callable[..., Tensor]) -> Faces:
        parts = [
            fill(as_planes(batch), _hole(region[at : at + BATCH]))
            for at, batch in zip(range(0, len(faces), BATCH), _batches(faces), strict=True)
        ]
        return _bytes(torch.cat(parts).permute(0, 2, 3, 1).numpy())


def reported(regions: Region) -> Region:
    enough = regions.mean(axis=(1, 2)) >= SMALLEST_SHARE
    return np.asarray(regions & enough[:, None, None])


def load_restoration(runs_dir: Path) -> Restoration:
    """Of the runs `region` and `restoration`."""
    region, restorer = (load_run(runs_dir / name)[1] for name in ("region", "restoration"))
    if not isinstance(region, RegionNetwork) or not isinstance(restorer, Restorer):
        raise TypeError(f"{runs_dir}: region or restoration is a run of another kind")
    return Restoration(region, restorer)


def load_age_teller(run_dir: Path, base: Trained) -> AgeTeller:
    run, network = load_run(run_dir, base)
    if not isinstance(run.settings, AgeSettings) or not isinstance(network, AgeNetwork):
        raise TypeError(f"{run_dir} is no run of an age network")
    return AgeTeller(run.name, network, run.settings.input_px)


def load_run(run_dir: Path, base: Trained | None = None) -> tuple[Run, nn.Module]:
    """The averaged network of a run as far as it has come; a head comes on its base network."""
    run = read_run(run_dir / CONFIG_FILE)
    state = torch.load(run_dir / f"{run.kind}.pt", weights_only=True)
    network = _built(run, base)
    of_run = network.head if isinstance(network, AgeNetwork) and _is_head(run) else network
    of_run.load_state_dict(state["average"])
    return run, network.eval()


def _built(run: Run, base: Trained | None) -> nn.Module:
    settings = run.settings
    if isinstance(settings, RegionSettings):
        return RegionNetwork(settings)
    if isinstance(settings, RestorationSettings):
        return Restorer(settings, torch.zeros(FACE_PX, FACE_PX, 3))  # the run's own is loaded
    if base is None:
        raise ValueError(f"{run.name} needs the base network that it started from")
    return on_base(base.network, base.backbone)


def _is_head(run: Run) -> bool:
    return isinstance(run.settings, AgeSettings) and run.settings.way == HEAD


def _hole(region: Region) -> Tensor:
    return as_region([grown(one, MARGIN_PX) if one.any() else one for one in region])


def _batches(faces: Faces) -> Sequence[Faces]:
    return [faces[at : at + BATCH] for at in range(0, len(faces), BATCH)]


def _bytes(pictures: NDArray[np.floating]) -> Faces:
    return np.asarray(np.rint(np.clip(pictures, 0, 255)), dtype=np.uint8)
