"""Teach the occlusion network: training faces, covered on purpose, and how much of them is."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from face_models import occlusion
from face_models.occlusion import OcclusionNetwork
from face_models.photo import Rgb
from face_models.training.data import FaceSet
from face_models.training.robustness import conditions
from face_models.training.robustness.conditions import Box

Mask = NDArray[np.bool_]  # (h, w), true where something hides the picture

FACE: Box = tuple(share / 2 for share in conditions.FACE_IN_CROP)  # type: ignore[assignment]
"""In training faces of 112 px."""
FACES, VIEWS = 6_000, 4
COVERED_CHANCE = 0.5
BLOCK_SIDE = (0.12, 0.75)  # of the face's width and height
ELLIPSE_CHANCE = 0.3
MOST_PATCHES = 6  # a pattern is up to this many blocks of colour a side
MISPLACED_PX = 1.5  # standard deviation: landmarks are not exact
MISTURNED_DEG = 3.0
MISSCALED = 0.04

HIDDEN = 16
PASSES, BATCH = 12, 256
PEAK_LEARNING_RATE, WEIGHT_DECAY = 5e-3, 3e-2


def fit_occlusion(faces: FaceSet, seed: int, count: int = FACES) -> OcclusionNetwork:
    """Train on `count` faces, each seen four times; a minute on one core."""
    inputs, shares = _lesson(faces, seed, count)
    torch.manual_seed(seed)
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-6
    network = nn.Sequential(
        nn.Linear(occlusion.FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1), nn.Flatten(0)
    )
    _train(network, torch.from_numpy((inputs - mean) / deviation), torch.from_numpy(shares))
    weight, bias, answer, answer_bias = (p.detach().numpy() for p in network.parameters())
    hidden = (weight / deviation).T
    return OcclusionNetwork(hidden, bias - mean @ hidden, answer[0], answer_bias[0])


def covered(face: Rgb, random: np.random.Generator) -> tuple[Rgb, float]:
    """Half of all faces with something before them; and the share of the face that it hides."""
    mask = np.zeros(face.shape[:2], dtype=bool)
    if random.random() < COVERED_CHANCE:
        mask = cover(face.shape[0], random)
        face = np.where(mask[..., None], pattern(face.shape[0], random), face)
    x, y, width, height = (round(side) for side in FACE)
    return face, float(mask[y : y + height, x : x + width].mean())


def _lesson(
    faces: FaceSet, seed: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(faces))[:count]
    inputs, shares = [], []
    for index in tqdm(np.sort(chosen), "faces to cover", unit="face"):
        face = faces.images(np.array([index]))[0]
        for _ in range(VIEWS):
            view, share = covered(face, random)
            inputs.append(occlusion.features(_misaligned(worse(view, random), random)))
            shares.append(share)
    return np.stack(inputs), np.array(shares, dtype=np.float32)


def cover(side: int, random: np.random.Generator) -> Mask:
    """A bar over the eyes, a mask, or (half of the time) a block or an ellipse anywhere."""
    x, y, width, height = FACE
    mask = np.zeros((side, side), dtype=np.uint8)
    kind = random.integers(4)
    if kind == 0:
        rows = y + height * (np.array(conditions.EYES_BAND) + random.uniform(-0.04, 0.04, 2))
    elif kind == 1:
        rows = y + height * np.array([conditions.LOWER_FACE[0] + random.uniform(-0.1, 0.1), 1])
    else:
        return _block(mask, random)
    columns = x + random.uniform(-0.1, 0.1, 2) * width + np.array([0, width])
    top, bottom, left, right = (max(round(edge), 0) for edge in (*rows, *columns))
    mask[top:bottom, left:right] = 1
    return mask.astype(bool)


def _block(mask: NDArray[np.uint8], random: np.random.Generator) -> Mask:
    x, y, width, height = FACE
    half = random.uniform(*BLOCK_SIDE, 2) * [width, height] / 2
    middle = random.uniform([x, y], [x + width, y + height])
    (left, top), (right, bottom) = np.rint([middle - half, middle + half]).astype(int).tolist()
    if random.random() < ELLIPSE_CHANCE:
        centre, axes = np.rint([middle, half]).astype(int).tolist()
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    else:
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 1
    return mask.astype(bool)


def pattern(side: int, random: np.random.Generator) -> Rgb:
    """Plain, or blocks of colour that run into each other."""
    patches = 1 if random.random() < 0.5 else int(random.integers(2, MOST_PATCHES + 1))
    colours = random.integers(0, 256, (patches, patches, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, (side, side)), dtype=np.uint8).reshape(side, side, 3)


def worse(view: Rgb, random: np.random.Generator) -> Rgb:
    """Half of all faces blurred, lit badly, noisy or coarse: none of that hides a face."""
    chance = random.random()
    if chance < 0.15:
        return conditions.blur(view, FACE, random.uniform(0.005, 0.06), random)
    if chance < 0.3:
        return conditions.brighten(view, FACE, float(np.exp(random.uniform(-3, 0.8))), random)
    if chance < 0.4:
        return conditions.add_noise(view, FACE, random.uniform(0.01, 0.2), random)
    if chance < 0.5:
        return conditions.coarsen(view, FACE, random.uniform(10, 60), random)
    return view


def _misaligned(view: Rgb, random: np.random.Generator) -> Rgb:
    side = view.shape[0]
    middle = (side - 1) / 2
    angle, scale = random.normal(0, MISTURNED_DEG), random.normal(1, MISSCALED)
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, scale)
    matrix[:, 2] = matrix[:, 2] + random.normal(0, MISPLACED_PX, 2)
    moved = cv2.warpAffine(view, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    mirrored = random.random() < 0.5
    return np.asarray(moved[:, ::-1] if mirrored else moved, dtype=np.uint8)


def _train(network: nn.Module, inputs: torch.Tensor, shares: torch.Tensor) -> None:
    """AdamW, one cycle, squared error: the answer is the expected share."""
    steps = PASSES * -(-len(inputs) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LEARNING_RATE, steps)
    for _ in range(PASSES):
        for batch in torch.randperm(len(inputs)).split(BATCH):  # type: ignore[no-untyped-call]
            loss = nn.functional.mse_loss(network(inputs[batch]), shares[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
