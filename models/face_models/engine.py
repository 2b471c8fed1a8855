"""ONNX Runtime sessions: face crops -> embeddings and heatmaps.

The exported graphs hold everything between pixels and answer (normalisation, Grad-CAM++, L2 norm):

    base.onnx     rgb (n, 3, 224, 224) 0..255 -> embedding (n, 128), heatmap (n, 1, 224, 224) 0..1
    heatmap.onnx  rgb, heatmap, base (n, 128) -> embedding (n, 128), alone (n, 128)

`base` is the base network's embedding: it runs anyway, for the heatmap, and two networks err less
than one, so the answer is the unit sum of both (`alone`: without it). The heatmap network looks at
the mirrored face, which its graph turns itself. An older export may read no `base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,  # noqa: A004 - ONNX Runtime's own name for it
    RuntimeException,
)

from face_models.align import CROP_PX
from face_models.errors import EmbeddingFailed, WeightsError
from face_models.spec import MODEL_NAMES, WEIGHTS_DIR, ModelSpec, load_specs

Crops = NDArray[np.uint8]  # (n, 224, 224, 3)
Vectors = NDArray[np.float32]  # (n, 128)
Maps = NDArray[np.float32]  # (n, 224, 224)

HEATMAP_INPUTS: Final = ("rgb", "heatmap", "base")
UNIT_NORM_TOLERANCE: Final = 1e-3
_GREY: Final = 128
_RUNTIME_ERRORS: Final = (  # ONNX Runtime's exceptions have no common root of their own
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
    RuntimeException,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """L2-normalised embeddings and Grad-CAM++ maps in 0..1, one row per crop.

    `heatmap` has no rows where only the base network was asked.
    """

    base: Vectors
    heatmap: Vectors
    maps: Maps


class Engine:
    """Both networks, loaded, checked against model.json and proven on a grey crop.

    One engine serves all threads of a process: ONNX Runtime sessions may be run concurrently.

    Raises:
        WeightsError: on construction, when a file is missing, changed or does not do its job.
    """

    def __init__(self, weights_dir: Path = WEIGHTS_DIR, threads: int = 1) -> None:
        self.specs: Mapping[str, ModelSpec] = load_specs(weights_dir).models
        self._base, self._heatmap = (
            open_session(self.specs[name].path_in(weights_dir), threads) for name in MODEL_NAMES
        )
        self._heatmap_inputs = [entry.name for entry in self._heatmap.get_inputs()]
        if not set(self._heatmap_inputs) <= set(HEATMAP_INPUTS):
            raise WeightsError(
                f"{self.specs['heatmap'].file} takes {self._heatmap_inputs}; "
                f"there are {list(HEATMAP_INPUTS)}."
            )
        self._prove()

    def embed(
        self, crops: Crops, models: tuple[str, ...] = MODEL_NAMES, *, flip: bool = False
    ) -> Embeddings:
        """Crops (n, 224, 224, 3) -> embeddings, in one batch; the base network always runs.

        `flip`: embeddings of crop and mirror image are added and normalised, at twice the price;
        the maps stay those of the crops.

        Raises:
            EmbeddingFailed: ONNX Runtime failed, or an answer is not finite or has no direction.
        """
        _check_request(crops, models)
        if flip:
            return self._embed_flipped(crops, models)
        rgb = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        base, maps = run_session(self._base, ("embedding", "heatmap"), {"rgb": rgb})
        heatmap = np.empty((0, self.specs["heatmap"].dimensions), dtype=np.float32)
        if "heatmap" in models:
            known = dict(zip(HEATMAP_INPUTS, (rgb, maps, base), strict=True))
            inputs = {name: known[name] for name in self._heatmap_inputs}
            (heatmap,) = run_session(self._heatmap, ("embedding",), inputs)
        return Embeddings(base, heatmap, maps[:, 0])

    def _embed_flipped(self, crops: Crops, models: tuple[str, ...]) -> Embeddings:
        both = self.embed(np.concatenate([crops, crops[:, :, ::-1]]), models)
        return Embeddings(_folded(both.base), _folded(both.heatmap), both.maps[: len(crops)])

    def _prove(self) -> None:
        """One inference at start: wrong graphs are found now, and the first photo is not slow."""
        try:
            proof = self.embed(np.full((1, CROP_PX, CROP_PX, 3), _GREY, dtype=np.uint8))
        except EmbeddingFailed as error:
            raise WeightsError(f"The networks fail on a grey crop: {error}") from error
        for name, vectors in (("base", proof.base), ("heatmap", proof.heatmap)):
            _check_vectors(self.specs[name], vectors)
        if proof.maps.shape != (1, CROP_PX, CROP_PX):
            raise WeightsError(f"base.onnx answers with a map of shape {proof.maps.shape}.")
        if proof.maps.min() < 0 or proof.maps.max() > 1:
            raise WeightsError("base.onnx answers with a map outside 0..1.")


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A CPU session that uses `threads` threads and leaves its cores alone between runs.

    Raises:
        WeightsError: not an ONNX graph that this runtime can load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as error:
        raise WeightsError(f"{path} cannot be loaded: {error}") from error


def run_session(
    session: onnxruntime.InferenceSession, outputs: tuple[str, ...], inputs: Mapping[str, Any]
) -> list[NDArray[np.float32]]:
    """The named outputs.

    Raises:
        EmbeddingFailed: ONNX Runtime failed, or an answer is not finite.
    """
    try:
        answers: list[NDArray[np.float32]] = session.run(outputs, dict(inputs))
    except _RUNTIME_ERRORS as error:
        raise EmbeddingFailed(f"ONNX Runtime failed: {error}") from error
    for name, answer in zip(outputs, answers, strict=True):
        if not np.isfinite(answer).all():
            raise EmbeddingFailed(f"The network's {name!r} holds numbers that are not finite.")
    return answers


def _folded(vectors: Vectors) -> Vectors:
    """Rows of crops, then of their mirror images -> the directions of their sums."""
    crops, mirrored = np.split(vectors, 2)
    sums = crops + mirrored
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise EmbeddingFailed("A crop's embedding and its mirror image's cancel out.")
    return np.asarray(sums / lengths, dtype=np.float32)


def _check_request(crops: Crops, models: tuple[str, ...]) -> None:
    if crops.ndim != 4 or crops.shape[1:] != (CROP_PX, CROP_PX, 3) or crops.dtype != np.uint8:
        raise ValueError(
            f"Crops must be uint8 (n, {CROP_PX}, {CROP_PX}, 3), not {crops.dtype} {crops.shape}."
        )
    unknown = set(models) - set(MODEL_NAMES)
    if unknown:
        raise ValueError(f"Unknown models {sorted(unknown)}; there are {MODEL_NAMES}.")


def _check_vectors(spec: ModelSpec, vectors: Vectors) -> None:
    if spec.input_px != CROP_PX:
        raise WeightsError(f"{spec.file} wants {spec.input_px} px; crops have {CROP_PX}.")
    if vectors.shape != (1, spec.dimensions):
        raise WeightsError(
            f"{spec.file} answers with {vectors.shape[1:]} numbers; "
            f"model.json says {spec.dimensions}."
        )
    norm = float(np.linalg.norm(vectors[0]))
    if abs(norm - 1) > UNIT_NORM_TOLERANCE:
        raise WeightsError(f"{spec.file} answers with a vector of length {norm:.4f}, not 1.")
