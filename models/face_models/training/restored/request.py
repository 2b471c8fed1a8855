"""What is measured, with which networks and data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from face_models.spec import WEIGHTS_DIR
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.restored.settings import AgeSettings, read_run
from face_models.training.restored.train import CONFIG_FILE

PEOPLE, AGES = "people", "ages"
PARTS: Final = (PEOPLE, AGES)
PROBES_EACH: Final = 2


@dataclass(frozen=True)
class Request:
    data: Path
    runs: Path
    weights: Path = WEIGHTS_DIR
    probes_each: int = PROBES_EACH
    resampling: Resampling = field(default_factory=Resampling)
    threads: int = 1
    cache: Path | None = None  # of decoded faces; by default in `runs`

    @property
    def cache_dir(self) -> Path:
        return self.cache or self.runs / "cache"

    @property
    def age_runs(self) -> list[str]:
        """Every finished or unfinished run of an age network."""
        configs = sorted(self.runs.glob(f"*/{CONFIG_FILE}"))
        runs = [read_run(path) for path in configs if (path.parent / "age.pt").exists()]
        return [run.name for run in runs if isinstance(run.settings, AgeSettings)]
