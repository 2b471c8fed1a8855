"""Who draws the heatmap of a photo, at training and at every test: the base network, the teacher.

The explained person is whom the drawer takes the face for, never whom the label names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.utils import Extractor
from torch import Tensor
from torch.nn import functional as F

from face_models.engine import open_session
from face_models.training.checkpoint import Trained
from face_models.training.data import FACE_PX
from face_models.training.gradcam import heatmap
from face_models.training.lab.photos import Photos, Rows
from face_models.training.pixels import enlarged

BATCH = 64
DIMENSIONS = 128

Sight = Callable[[Tensor], Tensor | None]  # RGB (n, 3, px, px) 0..255 -> heat (n, 1, px, px)


def nothing(_rgb: Tensor) -> None:
    """For networks without a fourth channel."""


def blank(rgb: Tensor) -> Tensor:
    return torch.zeros_like(rgb[:, :1])


def of_network(base: Trained) -> Sight:
    """Grad-CAM++ of the person whom the base network sees."""
    explained = base.explained()

    @torch.no_grad()
    def draw(rgb: Tensor) -> Tensor:
        heat: Tensor = explained(rgb)[1]
        return heat

    return draw


def of_teacher(file: Path, photos: Photos, learnt: Rows, threads: int) -> Sight:
    """Grad-CAM++ of the teacher: its last map is affine to its embedding before the norm, as ours.

    People are told apart by the mean of their embeddings over the photos that are learnt.
    """
    session = open_session(file, threads)
    slope = _slope(file, threads)
    centres = torch.from_numpy(_centres(session, photos, learnt))

    def draw(rgb: Tensor) -> Tensor:
        embedding, features = _answers(session, rgb)
        direction = centres[(embedding @ centres.T).argmax(dim=1)]
        gradient = torch.einsum("nd,dchw->nchw", direction, slope)
        return heatmap(features, gradient, (rgb.shape[2], rgb.shape[3]))

    return draw


def _answers(session: onnxruntime.InferenceSession, rgb: Tensor) -> tuple[Tensor, Tensor]:
    small = F.interpolate(rgb, (FACE_PX, FACE_PX), mode="bilinear", antialias=True)
    given = {"rgb": small.contiguous().numpy()}
    embedding, features = session.run(["embedding", "features"], given)
    return torch.from_numpy(embedding), torch.from_numpy(features)


def _centres(
    session: onnxruntime.InferenceSession, photos: Photos, learnt: Rows
) -> NDArray[np.float32]:
    sums = np.zeros((photos.people, DIMENSIONS), np.float32)
    for at in range(0, len(learnt), BATCH):
        rows = learnt[at : at + BATCH]
        rgb = enlarged(np.asarray(photos.pixels[rows]), photos.pixels.shape[1])
        np.add.at(sums, photos.person[rows], _answers(session, rgb)[0].numpy())
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True))


def _slope(file: Path, threads: int) -> Tensor:
    """(128, channels, h, w): the embedding before its norm by the last map, place by place.

    The graph's tail is affine, so its answers to unit maps less its answer to zeros are exact.
    """
    tail, shape = _tail(file, threads)
    places = int(np.prod(shape))
    bias = tail(np.zeros((1, *shape), np.float32))
    columns = [
        tail(np.eye(places, dtype=np.float32)[at : at + 8 * BATCH].reshape(-1, *shape)) - bias
        for at in range(0, places, 8 * BATCH)
    ]
    return torch.from_numpy(np.concatenate(columns).T.reshape(-1, *shape).copy())


def _tail(
    file: Path, threads: int
) -> tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], tuple[int, ...]]:
    """From the last map to the embedding before its norm."""
    model = onnx.load(file)
    made_by = {out: node for node in model.graph.node for out in node.output}
    plain = made_by["embedding"].input[0]
    features = made_by["features"]
    start = features.input[0] if features.op_type == "Identity" else "features"
    told = next(one for one in model.graph.output if one.name == "features")
    shape = tuple(one.dim_value for one in told.type.tensor_type.shape.dim)[1:]
    for name, sides in ((start, shape), (plain, (DIMENSIONS,))):
        known = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *sides])
        model.graph.value_info.append(known)
    part = Extractor(model).extract_model([start], [plain])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def answer(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run([plain], {start: maps})[0])

    return answer, shape
