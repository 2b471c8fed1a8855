"""What is made of what: photos -> networks -> heatmaps -> networks with heatmaps -> answers.

Every artefact lies on a shelf under the fingerprint of its ingredients, so a killed run goes on
where it was, and a changed setting makes anew what depends on it and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from face_models.spec import sha256_of
from face_models.training import starts
from face_models.training.checkpoint import Trained, load_trained
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab import answers, learning, lfw, maps, photos, sight
from face_models.training.lab.arms import ARMS, BASE, HEATMAP, Arm
from face_models.training.lab.exposures import Exposure, sweep_exposures, table_exposures
from face_models.training.lab.learning import NETWORK_FILE, Task
from face_models.training.lab.photos import Frame, Photos, Rows
from face_models.training.lab.settings import DISTILLED, IMAGENET, RANDOM, LabConfig, Study
from face_models.training.lab.shelf import Artefact, Shelf, listing
from face_models.training.lab.sight import Sight
from face_models.training.lab.sources import drawn, yaleb
from face_models.training.lab.sources.gathering import keep_photos
from face_models.training.views import TEACHER_FILE

MAPS_FILE, AREAS_FILE = "maps.npy", "areas.npz"
FILES = {"yaleb": (str(yaleb.FILE),), "identities": ("train/faces-*.parquet",)}


@dataclass(frozen=True)
class Trial:
    """One network of a study."""

    study: Study
    backbone: str
    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.study.name}-{self.backbone}-{self.arm}-{self.seed}"

    def of_arm(self, arm: str) -> Trial:
        return Trial(self.study, self.backbone, arm, self.seed)


@dataclass(frozen=True)
class Folders:
    data: Path
    runs: Path


@dataclass(frozen=True)
class FaceTable:
    """A data folder with train/faces-*.parquet, and where its decoded faces are kept."""

    data: Path
    cache: Path
    fingerprint: str


@dataclass
class Bench:
    config: LabConfig
    folders: Folders
    threads: int
    shelf: Shelf = field(init=False)
    _photos: dict[str, Photos] = field(default_factory=dict)
    _teachers: dict[str, Sight] = field(default_factory=dict)
    _listings: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.folders.runs / "lab")

    # photos

    def drawn(self, study: Study) -> Artefact:
        """The folder of drawn people that a study asks for."""
        crowd = drawn.Crowd(**study.settings)
        return self.shelf.take("drawn", asdict(crowd), lambda into: drawn.write(into, crowd))

    def data_of(self, study: Study) -> Path:
        """Where a study's photos, its LFW and its teacher are."""
        return self.drawn(study).folder if study.source == "drawn" else self.folders.data

    def faces_of(self, study: Study) -> FaceTable:
        """The training set beside a study's photos."""
        if study.source != "drawn":
            files = self._listing(*FILES["identities"])
            return FaceTable(self.folders.data, self._cache_dir, files)
        made = self.drawn(study)
        return FaceTable(made.folder, made.folder / drawn.DECODED, made.fingerprint)

    @property
    def _cache_dir(self) -> Path:
        return self.folders.runs / "cache"

    def photos_of(self, study: Study) -> tuple[Artefact, Photos]:
        made_of = {
            "source": study.source,
            "settings": study.settings,
            "px": self.config.input_px,
            "files": self._source_files(study),
        }
        name = f"photos-{study.name}"
        made = self.shelf.take(name, made_of, lambda into: self._keep_photos(study, into))
        if made.fingerprint not in self._photos:
            self._photos[made.fingerprint] = photos.load(made.folder)
        return made, self._photos[made.fingerprint]

    def _keep_photos(self, study: Study, into: Path) -> None:
        keep_photos(study, self.data_of(study), self._cache_dir, self.config.input_px, into)

    def _source_files(self, study: Study) -> str:
        if study.source == "drawn":
            return self.drawn(study).fingerprint
        if study.source == "aihub":
            return self._listing(f"{study.settings['folder']}/**/*")
        return self._listing(*FILES[study.source])

    def _listing(self, *patterns: str) -> str:
        if patterns not in self._listings:
            self._listings[patterns] = listing(self.folders.data, *patterns)
        return self._listings[patterns]

    def validated(self, study: Study) -> Rows:
        _, found = self.photos_of(study)
        return found.to_validate(study.validation_photos, self.config.seed)

    # networks

    def network(self, trial: Trial) -> Artefact:
        arm = ARMS[trial.arm]
        made_of = {
            "photos": self.photos_of(trial.study)[0].fingerprint,
            "validation_photos": trial.study.validation_photos,
            "validation_seed": self.config.seed,
            "backbone": trial.backbone,
            "arm": {key: value for key, value in asdict(arm).items() if key != "told"},
            "seed": trial.seed,
            "lesson": asdict(trial.study.lesson),
            "start": self._start_name(trial),
            "drawn_by": self._drawer_name(trial),
        }
        return self.shelf.take(f"network-{trial}", made_of, lambda into: self._learn(trial, into))

    def trained(self, trial: Trial) -> Trained:
        return load_trained(self.network(trial).folder / NETWORK_FILE)

    def _learn(self, trial: Trial, into: Path) -> None:
        arm = ARMS[trial.arm]
        _, found = self.photos_of(trial.study)
        task = Task(
            photos=found,
            learnt=found.to_learn(),
            validated=self.validated(trial.study),
            lesson=trial.study.lesson,
            arm=arm,
            seed=trial.seed,
            heats=self._heats(trial),
            base=self.trained(trial.of_arm(arm.drawn_by)) if arm.draws_anew else None,
        )
        learning.learn(task, trial.backbone, self._start(trial), into)

    def _start(self, trial: Trial) -> str | Path:
        earlier = self._earlier(trial)
        if earlier:
            return self.network(earlier).folder
        name = trial.study.start.get(trial.backbone, RANDOM)
        if name == DISTILLED:
            return starts.file_of(trial.backbone)
        return name if name in (RANDOM, IMAGENET) else self.folders.data / name

    def _start_name(self, trial: Trial) -> str:
        earlier = self._earlier(trial)
        if earlier:
            return self.network(earlier).fingerprint
        name = trial.study.start.get(trial.backbone, RANDOM)
        if name == DISTILLED:
            return sha256_of(starts.file_of(trial.backbone))
        return name if name in (RANDOM, IMAGENET) else self._listing(name)

    def _earlier(self, trial: Trial) -> Trial | None:
        if not trial.study.start_study:
            return None
        study = self.config.study(trial.study.start_study)
        if trial.backbone not in study.backbones:
            raise UnusableInput(f"{study.name} has no {trial.backbone} to start {trial} from.")
        return Trial(study, trial.backbone, BASE, study.seeds[0])

    # heatmaps

    def _drawer_name(self, trial: Trial) -> str:
        arm = ARMS[trial.arm]
        if arm.heat == "base":
            return self.network(trial.of_arm(arm.drawn_by)).fingerprint
        if arm.heat == "teacher" and trial.study.source != "drawn":
            return self._listing(str(TEACHER_FILE))
        return arm.heat

    def sight(self, trial: Trial) -> Sight:
        """Who draws for this network at a test."""
        arm = ARMS[trial.arm]
        if arm.heat == "base":
            return sight.of_network(self.trained(trial.of_arm(arm.drawn_by)))
        if arm.heat == "teacher":
            return self._teacher(trial.study)
        return sight.nothing if arm.heat == "none" else sight.blank

    def _teacher(self, study: Study) -> Sight:
        if study.name not in self._teachers:
            _, found = self.photos_of(study)
            file = self.data_of(study) / TEACHER_FILE
            self._teachers[study.name] = sight.of_teacher(
                file, found, found.to_learn(), self.threads
            )
        return self._teachers[study.name]

    def _heats(self, trial: Trial) -> learning.Heats | None:
        """Maps of all photos as they are, from disk; None where there are none or only zeros."""
        arm = ARMS[trial.arm]
        if arm.heat in ("none", "zero"):
            return None
        kept: learning.Heats = np.load(self.heatmaps(trial, arm).folder / MAPS_FILE, mmap_mode="r")
        return kept

    def heatmaps(self, trial: Trial, arm: Arm) -> Artefact:
        kept, found = self.photos_of(trial.study)
        made_of = {
            "photos": kept.fingerprint,
            "validation_photos": trial.study.validation_photos,
            "validation_seed": self.config.seed,
            "drawn_by": self._drawer_name(trial),
        }
        whose = "teacher" if arm.heat == "teacher" else f"{trial.backbone}-{trial.seed}"
        rows = np.concatenate([found.to_learn(), self.validated(trial.study)])
        return self.shelf.take(
            f"maps-{trial.study.name}-{whose}",
            made_of,
            lambda into: learning.precompute(self.sight(trial), found, rows, into / MAPS_FILE),
        )

    # answers

    def exposures(self, trial: Trial) -> list[Exposure]:
        """Figure 3's for the paper's two arms, table 1's for the others."""
        all_of_them = trial.arm in (BASE, HEATMAP)
        wanted = sweep_exposures if all_of_them else table_exposures
        return wanted(self.config.occlusion_repeats)

    def answers(self, trial: Trial) -> dict[str, Rows]:
        """By exposure."""
        return self._answers(trial, self.exposures(trial), (answers.NORMAL,))[answers.NORMAL]

    def forms(self, trial: Trial) -> dict[str, dict[str, Rows]]:
        """By what the fourth channel is told: table 2."""
        exposures = table_exposures(self.config.occlusion_repeats)
        return self._answers(trial, exposures, tuple(answers.FORMS))

    def _answers(
        self, trial: Trial, exposures: list[Exposure], forms: tuple[str, ...]
    ) -> dict[str, dict[str, Rows]]:
        made_of = {
            "network": self.network(trial).fingerprint,
            "drawn_by": self._drawer_name(trial),
            "exposures": [str(one) for one in exposures],
            "forms": forms,
            "seed": self.config.seed,
        }
        what = "answers" if len(forms) == 1 else "forms"

        def make(into: Path) -> None:
            _, found = self.photos_of(trial.study)
            rows, seed = self.validated(trial.study), self.config.seed
            predicted = answers.predict(
                self.trained(trial), self.sight(trial), found, rows, exposures, seed, forms
            )
            answers.save(predicted, into)

        return answers.load(self.shelf.take(f"{what}-{trial}", made_of, make).folder)

    # maps

    def explained(self) -> Trial:
        """The base network whose maps are compared."""
        study = self.config.study(self.config.maps_study or self.config.studies[0].name)
        return Trial(study, study.backbones[0], BASE, study.seeds[0])

    def areas(self) -> dict[str, maps.Areas]:
        """Deletion and insertion of every map, see maps.py."""
        trial = self.explained()
        made_of = {
            "network": self.network(trial).fingerprint,
            "photos": self.config.maps_photos,
            "validation_photos": trial.study.validation_photos,
            "validation_seed": self.config.seed,
        }

        def make(into: Path) -> None:
            _, found = self.photos_of(trial.study)
            rows = np.sort(self.validated(trial.study)[: self.config.maps_photos])
            areas = maps.faithfulness(self.trained(trial), np.asarray(found.pixels[rows]))
            np.savez(into / AREAS_FILE, **areas)  # type: ignore[arg-type]  # numpy's stub

        with np.load(self.shelf.take("areas", made_of, make).folder / AREAS_FILE) as kept:
            return {name: np.asarray(kept[name]) for name in kept.files}

    # LFW

    def lfw_scores(self, trial: Trial) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        folder = self.data_of(trial.study) / self.config.lfw
        crops = self._lfw_crops(trial.study, folder)
        made_of = {
            "network": self.network(trial).fingerprint,
            "drawn_by": self._drawer_name(trial),
            "crops": crops.fingerprint,
        }

        def make(into: Path) -> None:
            pairs = lfw.pairs_of(folder)
            lfw.keep_scores(self.trained(trial), self.sight(trial), crops.folder, pairs, into)

        made = self.shelf.take(f"lfw-{trial}", made_of, make)
        return np.asarray(np.load(made.folder / lfw.SCORES_FILE))

    def _lfw_crops(self, study: Study, folder: Path) -> Artefact:
        frame: Frame = "aligned" if study.source == "identities" else "box"
        is_drawn = study.source == "drawn"
        data = self.drawn(study).fingerprint if is_drawn else self._listing(f"{folder.name}/**/*")
        made_of = {"lfw": data, "frame": frame, "px": self.config.input_px}
        return self.shelf.take(
            "lfw-crops",
            made_of,
            lambda into: lfw.keep_crops(folder, frame, self.config.input_px, into),
        )
