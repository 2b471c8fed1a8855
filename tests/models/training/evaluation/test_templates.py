"""Photos are described once, in every way that is asked for, and remembered by their bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from face_models.descriptor import heatmap_descriptor
from face_models.engine import Crops, Embeddings, Engine
from face_models.errors import NoFace
from face_models.pipeline import Pipeline
from face_models.training.evaluation.protocol import LANDMARKS, UnusableInput, read_landmarks
from face_models.training.evaluation.templates import (
    FoundFace,
    ReferenceLandmarks,
    Template,
    TemplateCache,
    WholePipeline,
    describe,
    enrol,
    made_by,
    ways,
)

PEOPLE = Path(__file__).parents[3] / "data" / "people"
EVERY_WAY = ways(("base", "heatmap"), flip=True, maps=True)

pytestmark = pytest.mark.training


class Finder:
    """A photo's bytes are the grey value of its face; `nobody` is no face."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, photo: str, data: bytes) -> FoundFace:
        self.asked.append(photo)
        if data == b"nobody":
            raise NoFace("No face was found in the photo.")
        return FoundFace(np.full((224, 224, 3), int(data), dtype=np.uint8), quality=int(data))


class EyeEngine:
    """The grey value of a crop is the direction of its embedding."""

    def embed(self, crops: Crops, models: tuple[str, ...] = ()) -> Embeddings:
        vectors = np.eye(128, dtype=np.float32)[crops[:, 0, 0, 0]]
        return Embeddings(vectors, vectors, np.ones((len(crops), 224, 224), np.float32))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in {"a": "1", "b": "2", "same as a": "1", "empty": "nobody"}.items():
        (folder / name).write_text(content)
    return folder


def cached(images: Path, path: Path | None, made: str = "weights") -> tuple[Finder, dict]:
    find, photos = Finder(), sorted(photo.name for photo in images.iterdir())
    cache = TemplateCache(made, ("base", "heatmap-descriptor"), path)
    return find, enrol(find, EyeEngine(), images, photos, cache)


def test_the_flipped_way_is_what_the_engine_serves(tiny_weights: Path, crops: np.ndarray) -> None:
    engine = Engine(tiny_weights)
    described = describe(engine, crops, EVERY_WAY)
    plain, flipped = engine.embed(crops), engine.embed(crops, flip=True)
    for network in ("base", "heatmap"):
        np.testing.assert_allclose(described[network], getattr(plain, network), atol=1e-6)
        flip = described[f"{network}-flip"]
        np.testing.assert_allclose(flip, getattr(flipped, network), atol=1e-6)


def test_the_heatmap_descriptor_is_what_is_served_but_for_half_precision(
    tiny_weights: Path, crops: np.ndarray
) -> None:
    engine = Engine(tiny_weights)
    described = describe(engine, crops, ("heatmap-descriptor",))["heatmap-descriptor"]
    served = heatmap_descriptor(engine.embed(crops, ("base",)).maps)
    np.testing.assert_allclose(described @ described.T, served @ served.T, atol=2e-3)


def test_ways_are_named_by_network_and_what_is_done() -> None:
    assert EVERY_WAY == ("base", "heatmap", "base-flip", "heatmap-flip", "heatmap-descriptor")
    assert ways(("base",), flip=False, maps=False) == ("base",)
    assert ways((), flip=True, maps=True) == ("heatmap-descriptor",)


def test_a_photo_is_analysed_once_whatever_it_is_called(images: Path) -> None:
    find, templates = cached(images, None)
    assert find.asked == ["a", "b", "empty"]
    assert templates["same as a"].vectors is templates["a"].vectors
    assert templates["b"].quality == 2
    assert templates["empty"].refusal == "no-face"


def test_templates_outlive_the_process(images: Path, tmp_path: Path) -> None:
    _, first = cached(images, tmp_path / "cache.npz")
    find, second = cached(images, tmp_path / "cache.npz")
    assert find.asked == []
    for photo, template in first.items():
        assert (second[photo].quality, second[photo].refusal) == (
            template.quality,
            template.refusal,
        )
        for way, vector in template.vectors.items():
            np.testing.assert_array_equal(second[photo].vectors[way], vector)


def test_templates_of_other_weights_or_ways_are_made_anew(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.npz"
    cached(images, path)
    find, _ = cached(images, path, made="other weights")
    assert find.asked == ["a", "b", "empty"]
    assert len(TemplateCache("other weights", ("base",), path)) == 3
    assert len(TemplateCache("other weights", ("base", "heatmap"), path)) == 0


def test_a_file_that_is_no_cache_is_refused_and_kept(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.npz"
    path.write_bytes(b"PK\x03\x04 holiday photos")
    with pytest.raises(UnusableInput, match="no cache of templates"):
        cached(images, path)
    assert path.read_bytes().endswith(b"holiday photos")


def test_the_stamp_depends_on_weights_and_landmarks(tmp_path: Path) -> None:
    (tmp_path / "faces.csv").write_text("photo\n")
    stamps = [made_by(["a"]), made_by(["b"]), made_by(["a"], tmp_path / "faces.csv")]
    assert len(set(stamps)) == 3
    assert made_by(["a"]) == stamps[0]


def test_many_threads_answer_as_one_does(images: Path) -> None:
    def answers(threads: int) -> dict[str, Template]:
        photos = sorted(photo.name for photo in images.iterdir())
        cache = TemplateCache("weights", ("base",))
        return enrol(Finder(), EyeEngine(), images, photos, cache, threads)

    one, four = answers(1), answers(4)
    assert list(one) == list(four)
    for photo, template in one.items():
        assert template.refusal == four[photo].refusal
        np.testing.assert_array_equal(
            template.vectors.get("base", []), four[photo].vectors.get("base", [])
        )


def test_reference_landmarks_take_the_detectors_place(tmp_path: Path) -> None:
    photo = "demo-ada/1.webp"
    truth = json.loads(PEOPLE.with_suffix(".json").read_text())["landmarks"]["demo-ada"][0]
    points = [f"{point}_{axis}" for point in LANDMARKS for axis in "xy"]
    table = tmp_path / "faces.csv"
    table.write_text(
        ",".join(["photo", *points]) + "\n" + ",".join([photo, *map(str, np.ravel(truth))]) + "\n"
    )
    pipeline, data = Pipeline.load(), (PEOPLE / photo).read_bytes()
    finders = (WholePipeline(pipeline), ReferenceLandmarks(read_landmarks(table)))
    crops = np.stack([find(photo, data).crop for find in finders])
    ours, reference = pipeline.engine.embed(crops, ("base",)).base
    assert float(ours @ reference) > 0.8
    with pytest.raises(UnusableInput, match=r"hold no demo-bo/1\.webp"):
        finders[1]("demo-bo/1.webp", data)
