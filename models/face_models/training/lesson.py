"""What one training step learns from: photos with clean answers, views with the teacher's own.

Of a photo the student alone sees the damage; a view is what student and teacher saw alike.

Everything follows from the seed, the step and the share of it that a process learns, so a resumed
run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from face_models.training.augment import Faces, augment
from face_models.training.config import RunConfig, Stage
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.heatmaps import Heatmaps
from face_models.training.pixels import enlarged
from face_models.training.processes import this_share
from face_models.training.views import Views


@dataclass(frozen=True)
class Moment:
    """Where in the schedule a step stands."""

    stage: Stage
    step_in_stage: int
    steps_in_stage: int

    @property
    def learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        warmup = max(1, round(self.stage.warmup_share * self.steps_in_stage))
        if self.step_in_stage < warmup:
            return self.stage.peak_learning_rate * (self.step_in_stage + 1) / warmup
        share = (self.step_in_stage - warmup) / max(1, self.steps_in_stage - warmup)
        return self.stage.peak_learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def schedule(stages: tuple[Stage, ...]) -> list[Moment]:
    return [
        Moment(stage, step, steps)
        for stage in stages
        for steps in [math.ceil(stage.photos / stage.batch)]
        for step in range(steps)
    ]


@dataclass(frozen=True)
class Batch:
    """RGB (n, 3, px, px) 0..255, the teacher's unit answers (n, 128), identities (n,).

    `heat` (n, 1, px, px) only where heatmaps were computed before.
    """

    rgb: Tensor
    teacher: Tensor
    identity: Tensor
    heat: Tensor | None = None


@dataclass(frozen=True)
class Lesson:
    config: RunConfig
    faces: FaceSet
    views: Views | None = None  # none where no stage asks for any
    heatmaps: Heatmaps | None = None

    def batch(self, step: int, moment: Moment) -> Batch:
        """The photos come first, then the views, whose mixed faces are nobody in particular."""
        if self.heatmaps is not None:
            return self._as_they_are(self.heatmaps, moment)
        stage = moment.stage
        from_views = round(stage.batch * stage.views_share)
        share, _ = this_share()
        random = np.random.default_rng((self.config.seed, step, *([share] if share else [])))
        chosen = self._in_turn(len(self.faces), moment, stage.batch - from_views)
        pixels, _ = augment(self.faces.images(chosen), self.config.augment, random)
        teacher, identity = self._clean_answers[chosen], self.faces.identity[chosen]
        if self.views is not None and from_views:
            seen, answers = self._seen_by_both(self.views, moment, from_views, random)
            pixels, teacher = np.concatenate([pixels, seen]), np.concatenate([teacher, answers])
            identity = np.concatenate([identity, np.full(len(seen), NO_IDENTITY)])
        rgb = enlarged(pixels, stage.input_px)
        return Batch(rgb, torch.from_numpy(teacher), torch.from_numpy(identity))

    def _as_they_are(self, heatmaps: Heatmaps, moment: Moment) -> Batch:
        """The paper's form: a heatmap computed before fits the photo alone, not a view of it."""
        chosen = self._in_turn(len(self.faces), moment, moment.stage.batch)
        return Batch(
            enlarged(self.faces.images(chosen), moment.stage.input_px),
            torch.from_numpy(self._clean_answers[chosen]),
            torch.from_numpy(self.faces.identity[chosen]),
            torch.from_numpy(heatmaps[self.faces.rows[chosen]].astype(np.float32))[:, None],
        )

    @cached_property
    def _clean_answers(self) -> NDArray[np.float32]:
        return self.faces.teacher_both_ways

    def _seen_by_both(
        self, views: Views, moment: Moment, count: int, random: np.random.Generator
    ) -> tuple[Faces, NDArray[np.float32]]:
        places = self._in_turn(len(views), moment, count)
        pixels, answers = views.take(places)
        damaged, _ = augment(pixels, self.config.damage, random)
        return damaged, answers

    def _in_turn(self, total: int, moment: Moment, count: int) -> NDArray[np.int64]:
        """This process's share of `count` places.

        All processes together take every one of `total` once a pass, each pass in its own order,
        a batch running over.
        """
        places = moment.step_in_stage * count + np.arange(count)
        chosen = np.empty(count, dtype=np.int64)
        for a_pass in np.unique(places // total):
            seed = (self.config.seed, moment.stage.input_px, total, int(a_pass))
            here = places // total == a_pass
            chosen[here] = _order(seed, total)[places[here] % total]
        share, shares = this_share()
        return chosen[share::shares]


@lru_cache(maxsize=4)  # every step asks for the pass it is in
def _order(seed: tuple[int, ...], total: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(total)
