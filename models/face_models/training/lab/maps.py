"""Other maps beside Grad-CAM++, and whether a map is faithful: deletion and insertion.

Deletion greys the places of a photo, the hottest first, insertion uncovers them in a blurred photo;
the figure is the area under the explained person's probability (Petsiuk et al. 2018,
arXiv:1806.07421). A faithful map has a low deletion and a high insertion area. Two maps that know
nothing of the network stand beside them: any map is worth what it is better than those.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import LayerCAM, ScoreCAM
from torch import Tensor
from tqdm import tqdm

from face_models.training.checkpoint import Trained
from face_models.training.gradcam import IdentityLogits
from face_models.training.lab.sight import of_network
from face_models.training.network import GREY_LEVEL
from face_models.training.pixels import enlarged

STEPS = 20
BLUR_SHARE = 0.08  # deviation of the blur that insertion starts from, in widths of the photo
SPREAD_SHARE = 0.25  # deviation of the map that knows but where the middle is
CONTROL = "middle of the face"
LOGIT_SCALE = 30.0  # of cosines, as in training
PHOTOS_AT_ONCE = 16

Maps = NDArray[np.float32]  # (n, px, px)
Drawer = Callable[[Trained, Tensor], Maps]
Areas = NDArray[np.float64]


def gradcam_plus_plus(base: Trained, rgb: Tensor) -> Maps:
    heat = of_network(base)(rgb)
    return np.zeros(0, np.float32) if heat is None else heat[:, 0].numpy()


def layer_cam(base: Trained, rgb: Tensor) -> Maps:
    logits = IdentityLogits(base.explained())
    with LayerCAM(logits, [base.network.trunk[-1]]) as cam:
        return np.asarray(cam(rgb, targets=None), dtype=np.float32)


def score_cam(base: Trained, rgb: Tensor) -> Maps:
    """One forward pass a channel of the last map; its own progress bars are kept silent.

    A photo at a time: the library holds a copy of it for every channel.
    """
    logits = IdentityLogits(base.explained())
    quiet = contextlib.redirect_stderr(io.StringIO())
    drawn = []
    for photo in torch.split(rgb, 1):
        with quiet, torch.no_grad(), ScoreCAM(logits, [base.network.trunk[-1]]) as cam:
            drawn.append(np.asarray(cam(photo, targets=None), dtype=np.float32))
    return np.concatenate(drawn)


def middle(_base: Trained, rgb: Tensor) -> Maps:
    side = rgb.shape[3]
    away = (np.arange(side) - (side - 1) / 2) / (SPREAD_SHARE * side)
    bell = np.exp(-(away[:, None] ** 2 + away[None] ** 2) / 2).astype(np.float32)
    return np.repeat(bell[None], len(rgb), axis=0)


def anywhere(_base: Trained, rgb: Tensor) -> Maps:
    """As coarse as the others' last map of an input of 224 px, but drawn by chance."""
    chances = [np.random.default_rng(int(photo.sum())) for photo in rgb.double()]
    coarse = [chance.random((7, 7), dtype=np.float32) for chance in chances]
    return np.stack([cv2.resize(one, rgb.shape[:1:-1]) for one in coarse])


DRAWERS: Mapping[str, Drawer] = MappingProxyType(
    {
        "Grad-CAM++": gradcam_plus_plus,
        "Layer-CAM": layer_cam,
        "Score-CAM": score_cam,
        CONTROL: middle,
        "by chance": anywhere,
    }
)
METHODS = ("Grad-CAM++", "Layer-CAM", "Score-CAM")


def faithfulness(base: Trained, pixels: NDArray[np.uint8]) -> dict[str, Areas]:
    """By map, (2, n): deletion and insertion area of every photo, 0..1."""
    found: dict[str, list[Areas]] = {name: [] for name in DRAWERS}
    starts = tqdm(range(0, len(pixels), PHOTOS_AT_ONCE), "maps", unit="batch", leave=False)
    for at in starts:
        rgb = enlarged(pixels[at : at + PHOTOS_AT_ONCE], pixels.shape[1])
        blurred, grey = _blurred(rgb), torch.full_like(rgb, GREY_LEVEL)
        for name, draw in DRAWERS.items():
            ranks = _ranks(draw(base, rgb))
            deletion, insertion = (
                _area(base, rgb, before, after, ranks)
                for before, after in ((rgb, grey), (blurred, rgb))
            )
            found[name].append(np.stack([deletion, insertion]))
    return {name: np.concatenate(areas, axis=1) for name, areas in found.items()}


@torch.no_grad()
def _area(base: Trained, rgb: Tensor, before: Tensor, after: Tensor, ranks: Tensor) -> Areas:
    """Of the probability of whom the photo shows to the network, while `before` becomes `after`."""
    explained = _probabilities(base, rgb).argmax(dim=1)
    curve = []
    for share in np.linspace(0, 1, STEPS + 1):
        changed = torch.where(ranks < share, after, before)
        curve.append(_probabilities(base, changed).gather(1, explained[:, None])[:, 0])
    probabilities = torch.stack(curve).double().numpy()
    return np.asarray(np.trapezoid(probabilities, dx=1 / STEPS, axis=0))


def _probabilities(base: Trained, rgb: Tensor) -> Tensor:
    embedding = torch.nn.functional.normalize(base.network(rgb))
    return (LOGIT_SCALE * embedding @ base.identity_centres.T).softmax(dim=1)


def _ranks(maps: Maps) -> Tensor:
    """(n, 1, px, px) in 0..1: 0 the hottest place."""
    flat = maps.reshape(len(maps), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    ranks = np.empty_like(flat)
    places = np.arange(flat.shape[1], dtype=np.float32) / flat.shape[1]
    np.put_along_axis(ranks, order, np.broadcast_to(places, flat.shape), axis=1)
    return torch.from_numpy(ranks.reshape(maps.shape))[:, None]


def _blurred(rgb: Tensor) -> Tensor:
    sigma = BLUR_SHARE * rgb.shape[3]
    photos = rgb.permute(0, 2, 3, 1).contiguous().numpy()
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in photos])
    return torch.from_numpy(soft).permute(0, 3, 1, 2)
