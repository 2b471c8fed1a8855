"""Which cell answers for which face, and what a wrong answer costs.

Cells are chosen as in TOOD (Feng et al. 2021): those that already answer best learn to answer for a
face, and their score learns to tell how well they do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from face_models.detect import STRIDES

CELLS_PER_FACE = 10
SCORE_POWER, IOU_POWER = 0.5, 6.0
BOX_WEIGHT, LANDMARK_WEIGHT = 4.0, 30.0
LANDMARK_ROUNDING = 0.01  # of the face's size: below it the landmark loss is quadratic
TINY = 1e-9


@dataclass(frozen=True)
class Targets:
    """Faces of a batch, in pixels, padded to the largest count."""

    boxes: Tensor  # (n, g, 4) corners
    landmarks: Tensor  # (n, g, 10)
    real: Tensor  # (n, g) the face must be found
    ignored: Tensor  # (n, g) found or not, nobody minds; neither real nor ignored: padding


@dataclass(frozen=True)
class Answers:
    """What all cells of all strides say, in pixels."""

    logits: Tensor  # (n, a)
    boxes: Tensor  # (n, a, 4) corners
    landmarks: Tensor  # (n, a, 10)
    centres: Tensor  # (a, 2)
    strides: Tensor  # (a,)


@dataclass(frozen=True)
class Assignment:
    face: Tensor  # (n, a) index of the face a cell answers for
    score: Tensor  # (n, a) the score it should give; 0: none


@dataclass(frozen=True)
class Loss:
    score: Tensor
    box: Tensor
    landmark: Tensor

    @property
    def total(self) -> Tensor:
        return self.score + BOX_WEIGHT * self.box + LANDMARK_WEIGHT * self.landmark


def detection_loss(levels: tuple[Tensor, ...], targets: Targets) -> Loss:
    answers = read_answers(levels)
    assignment = assign(answers, targets)
    weight_sum = assignment.score.sum().clamp(min=1.0)
    positive = assignment.score > 0
    weights = assignment.score[positive]
    box_cost, landmark_cost = placement_costs(answers, targets, assignment, positive)
    return Loss(
        score=score_cost(answers, targets, assignment) / weight_sum,
        box=(box_cost * weights).sum() / weight_sum,
        landmark=(landmark_cost * weights).sum() / weight_sum,
    )


def read_answers(levels: tuple[Tensor, ...]) -> Answers:
    centres, strides = cell_grid(levels)
    flat = torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)
    middle = centres + flat[..., 1:3] * strides[:, None]
    half = flat[..., 3:5].clamp(max=6.0).exp() * strides[:, None] / 2
    marks = centres.repeat(1, 5) + flat[..., 5:] * strides[:, None]
    return Answers(
        flat[..., 0], torch.cat([middle - half, middle + half], dim=-1), marks, centres, strides
    )


def cell_grid(levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Centre (a, 2) in pixels and stride (a,) of every cell."""
    centres, strides = [], []
    for level, stride in zip(levels, STRIDES, strict=True):
        rows, columns = level.shape[-2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres), torch.cat(strides)


@torch.no_grad()
def assign(answers: Answers, targets: Targets) -> Assignment:
    """Each face takes the cells inside it that answer best, by score and IoU together.

    The score that a cell should give is the IoU of its face's best cell, less for a worse cell.
    """
    overlap = iou(targets.boxes[:, :, None], answers.boxes[:, None])  # (n, g, a)
    inside = cells_inside(answers, targets.boxes) & targets.real[..., None]
    quality = answers.logits.sigmoid()[:, None] ** SCORE_POWER * (overlap + TINY) ** IOU_POWER
    quality = torch.where(inside, quality + TINY * TINY, torch.zeros(()))
    chosen = keep_best(quality, CELLS_PER_FACE)
    chosen = torch.where(chosen == chosen.amax(dim=1, keepdim=True), chosen, torch.zeros(()))
    best_overlap = (overlap * (chosen > 0)).amax(dim=2, keepdim=True)
    score = chosen / chosen.amax(dim=2, keepdim=True).clamp(min=1e-30) * best_overlap
    return Assignment(face=chosen.argmax(dim=1), score=score.amax(dim=1))


def keep_best(quality: Tensor, count: int) -> Tensor:
    """Zeroes all but the `count` best along the last axis."""
    values, where = quality.topk(min(count, quality.shape[-1]), dim=-1)
    return torch.zeros_like(quality).scatter_(-1, where, values)


def cells_inside(answers: Answers, boxes: Tensor) -> Tensor:
    """(n, g, a): the cell's centre lies in the box, taken to be at least as large as the cell."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = torch.maximum(half[:, :, None], answers.strides[:, None] / 2)
    return ((answers.centres - middle[:, :, None]).abs() < reach).all(dim=-1)


def score_cost(answers: Answers, targets: Targets, assignment: Assignment) -> Tensor:
    ignored = (cells_inside(answers, targets.boxes) & targets.ignored[..., None]).any(dim=1)
    counts = ~ignored | (assignment.score > 0)
    cost = functional.binary_cross_entropy_with_logits(
        answers.logits, assignment.score, reduction="none"
    )
    return (cost * counts).sum()


def placement_costs(
    answers: Answers, targets: Targets, assignment: Assignment, positive: Tensor
) -> tuple[Tensor, Tensor]:
    """Box (1 - DIoU) and landmark cost of the p cells that answer for a face, (p,) each."""
    photo, _ = positive.nonzero(as_tuple=True)
    face = assignment.face[positive]
    boxes, marks = targets.boxes[photo, face], targets.landmarks[photo, face]
    size = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()[:, None]
    landmark = functional.smooth_l1_loss(
        answers.landmarks[positive] / size, marks / size, beta=LANDMARK_ROUNDING, reduction="none"
    )
    return 1 - distance_iou(answers.boxes[positive], boxes), landmark.mean(dim=1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Of boxes given as corners, broadcast."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    return shared / (area(first) + area(second) - shared).clamp(min=TINY)


def distance_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU - (distance of centres / diagonal of the hull)^2 (Zheng et al. 2020)."""
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    diagonal = (high - low).square().sum(dim=-1).clamp(min=TINY)
    return iou(first, second) - apart.square().sum(dim=-1) / diagonal


def area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
