"""model.json <-> frozen specs: which graphs the weights folder holds, and their sha256.

    {
      "schema": 1,
      "detector": {"file": "detector.onnx", "sha256": "…"},
      "landmarks": {"file": "landmarks.onnx", "sha256": "…"},
      "models": {
        "base":    {"file": "base.onnx", "sha256": "…", "input_px": 224, "dimensions": 128},
        "heatmap": {"file": "heatmap.onnx", "sha256": "…", "input_px": 224, "dimensions": 128}
      },
      "extras": {"region": {"file": "region.onnx", "sha256": "…"}, "age": …},
      "training": {…}
    }

`extras` may be missing, and each of its entries. `training` is provenance for people: free in
form, never read by code. Everywhere else an unknown, missing or mistyped key is refused by name, so
that a slip of the pen cannot pass for a setting.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from face_models.errors import WeightsError

WEIGHTS_DIR: Final = Path(__file__).parent / "weights"
MODEL_FILE: Final = "model.json"
SCHEMA: Final = 1
MODEL_NAMES: Final = ("base", "heatmap")
REGION, AGE = "region", "age"
EXTRA_NAMES: Final = (REGION, AGE)  # a weights folder may hold them, see extras.py

_NUMBERS: Final = re.compile(r"\[\s+(?:-?\d[\d.eE+-]*,?\s+)+\]")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One ONNX file of the weights folder."""

    file: str
    sha256: str

    def path_in(self, weights_dir: Path) -> Path:
        """The file's path, after its content was compared with `sha256`.

        Raises:
            WeightsError: missing, or not the file that was described.
        """
        path = weights_dir / self.file
        if not path.is_file():
            raise WeightsError(f"{path} is missing.")
        found = sha256_of(path)
        if found != self.sha256:
            raise WeightsError(f"{path} has sha256 {found}; {MODEL_FILE} says {self.sha256}.")
        return path


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(GraphSpec):
    """One embedding network: crops of `input_px` squared -> `dimensions` numbers."""

    name: str
    input_px: int
    dimensions: int


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """What model.json says."""

    detector: GraphSpec
    landmarks: GraphSpec
    models: Mapping[str, ModelSpec]
    training: Json
    extras: Mapping[str, GraphSpec]


def load_specs(weights_dir: Path = WEIGHTS_DIR) -> WeightsSpec:
    """Read model.json; the graphs themselves are checked where they are opened (`path_in`).

    Raises:
        WeightsError: the file is missing, is not JSON, or a key is unknown, missing or mistyped.
    """
    document = dict(read_json(weights_dir / MODEL_FILE))
    extras = document.pop("extras", {})
    raw = exact_keys(
        document,
        {"schema": int, "detector": dict, "landmarks": dict, "models": dict, "training": dict},
        where=MODEL_FILE,
    )
    if raw["schema"] != SCHEMA:
        raise WeightsError(f"{MODEL_FILE} has schema {raw['schema']}; this code reads {SCHEMA}.")
    models = exact_keys(raw["models"], dict.fromkeys(MODEL_NAMES, dict), where="models")
    return WeightsSpec(
        detector=GraphSpec(**_described(raw["detector"], {}, where="detector")),
        landmarks=GraphSpec(**_described(raw["landmarks"], {}, where="landmarks")),
        models=MappingProxyType({name: _model(name, models[name]) for name in MODEL_NAMES}),
        training=MappingProxyType(raw["training"]),
        extras=MappingProxyType(_extras(extras)),
    )


def write_specs(
    weights_dir: Path,
    training: Json,
    *,
    input_px: int = 224,
    dimensions: int = 128,
) -> WeightsSpec:
    """Describe the graphs that lie in the folder (detector.onnx, landmarks.onnx, …).

    Entries of `training` replace those of the same name in an earlier model.json and keep the rest,
    so the detector and the embedding networks can be exported apart.
    """
    earlier = load_specs(weights_dir).training if (weights_dir / MODEL_FILE).exists() else {}
    document = {
        "schema": SCHEMA,
        "detector": asdict(_graph(weights_dir, "detector")),
        "landmarks": asdict(_graph(weights_dir, "landmarks")),
        "models": {
            name: asdict(_graph(weights_dir, name))
            | {"input_px": input_px, "dimensions": dimensions}
            for name in MODEL_NAMES
        },
        **_described_extras(weights_dir),
        "training": {**earlier, **training},
    }
    write_json(weights_dir / MODEL_FILE, document)
    return load_specs(weights_dir)


def sha256_of(path: Path) -> str:
    """Lower-case hexadecimal sha256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(*sha256s: str) -> str:
    """One sha256 for several: of the given ones in hexadecimal, in their order, a line each."""
    return hashlib.sha256("".join(f"{one}\n" for one in sha256s).encode()).hexdigest()


def read_json(path: Path) -> Json:
    """An object from a JSON file; every way to fail is a WeightsError that names the file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise WeightsError(f"{path} must hold a JSON object.")
    return raw


def write_json(path: Path, document: Json) -> None:
    """Indented for people, but with every list of numbers on one line."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda numbers: " ".join(numbers[0].split()), text)
    path.write_text(text + "\n", encoding="utf-8")


def exact_keys(raw: Json, types: Mapping[str, type], *, where: str) -> Json:
    """`raw` itself, if it has exactly the keys of `types`, with values of those types.

    Raises:
        WeightsError: names the first key that is unknown, missing or mistyped, and `where`.
    """
    for key in raw.keys() - types.keys():
        raise WeightsError(f"Unknown key {key!r} in {where}.")
    for key, expected in types.items():
        if key not in raw:
            raise WeightsError(f"Key {key!r} is missing in {where}.")
        if type(raw[key]) is not expected:
            raise WeightsError(f"Key {key!r} in {where} must be of type {expected.__name__}.")
    return raw


def _described(raw: Json, more: Mapping[str, type], *, where: str) -> Json:
    known = {field.name: str for field in fields(GraphSpec)}
    checked = exact_keys(raw, {**known, **more}, where=where)
    if Path(checked["file"]).name != checked["file"]:
        raise WeightsError(f"Key 'file' in {where} must be a plain file name.")
    return checked


def _extras(raw: Json) -> dict[str, GraphSpec]:
    for name in raw:
        if name not in EXTRA_NAMES:
            raise WeightsError(f"Unknown key {name!r} in extras.")
    return {name: GraphSpec(**_described(raw[name], {}, where=f"extras.{name}")) for name in raw}


def _model(name: str, raw: Json) -> ModelSpec:
    sizes = {"input_px": int, "dimensions": int}
    return ModelSpec(name=name, **_described(raw, sizes, where=f"models.{name}"))


def _described_extras(weights_dir: Path) -> dict[str, dict[str, Any]]:
    there = [name for name in EXTRA_NAMES if (weights_dir / f"{name}.onnx").is_file()]
    found = {name: asdict(_graph(weights_dir, name)) for name in there}
    return {"extras": found} if found else {}


def _graph(weights_dir: Path, name: str) -> GraphSpec:
    path = weights_dir / f"{name}.onnx"
    if not path.is_file():
        raise WeightsError(f"{path} is missing; export it first.")
    return GraphSpec(file=path.name, sha256=sha256_of(path))
