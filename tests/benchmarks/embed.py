"""Photo -> embedding: our exported graphs against the paper's way on the same weights.

The paper's way is a PyTorch forward pass, pytorch-grad-cam's GradCAMPlusPlus (forward and backward)
for the heatmap, and a PyTorch forward pass of the 4-channel network. Decoding, detection and
alignment are the same code for both: the paper does not describe its own.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from growth import Growth
from numpy.typing import NDArray
from PIL import Image
from pytorch_grad_cam import GradCAMPlusPlus
from timing import Measured, take_turns

from face_models.pipeline import Pipeline
from face_models.training.checkpoint import load_trained
from face_models.training.gradcam import IdentityLogits
from face_models.training.losses import together
from face_models.training.network import mirrored

DATA = "the shipped demo people and weights"
ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "models" / "checkpoints"
PEOPLE = ROOT / "tests" / "data" / "people"
PHOTO_SIDE_PX = 250  # as in LFW
LARGER_PHOTOS_PX = {"1mp": (1000, 1000), "12mp": (4000, 3000)}
GROWTH_PX = ((500, 500), (1000, 1000), (2000, 2000), (4000, 3000), (6000, 4000))
GRAIN = 12.0  # grey levels of noise: what a real sensor leaves, and what a decoder has to unpack
PHOTO_QUALITY = 90
AGREEMENT = 1e-3
SEED = 1


class PaperWay:
    """The same networks, in PyTorch, with the heatmap from a backward pass."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        explained = load_trained(CHECKPOINTS / "base.safetensors").explained()
        self.base = explained.network
        self.cam = GradCAMPlusPlus(IdentityLogits(explained), [explained.network.trunk[-1]])
        self.heatmap_network = load_trained(CHECKPOINTS / "heatmap.safetensors").network

    def embed(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        rgb = torch.from_numpy(crop).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            base = torch.nn.functional.normalize(self.base(rgb))
        heat = torch.from_numpy(self.cam(rgb, targets=None))[:, None]
        with torch.no_grad():
            embedding = together(self.heatmap_network(mirrored(rgb), mirrored(heat)), base)
        return np.asarray(embedding.numpy()[0])


def run(rounds: int) -> list[Measured]:
    """Crop -> embedding, then photo -> embedding, both ways; then larger photos beside small."""
    pipeline, paper = Pipeline.load(), PaperWay()
    photo = demo_photo((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
    face = pipeline.choose(pipeline.analyse(photo))
    check_agreement(pipeline, paper, face.crop)

    def paper_photo() -> object:
        return paper.embed(pipeline.choose(pipeline.analyse(photo)).crop)

    def our_photo(data: bytes = photo) -> object:
        return pipeline.embed([pipeline.choose(pipeline.analyse(data))])

    comparisons: list[Measured] = [
        take_turns(
            "Aligned crop -> base and heatmap embedding",
            {
                "embed_crop_p50_ms": ("ours (two ONNX graphs)", lambda: pipeline.embed([face])),
                "paper_way_crop_p50_ms": (
                    "paper (PyTorch, pytorch-grad-cam, PyTorch)",
                    lambda: paper.embed(face.crop),
                ),
            },
            rounds,
        ),
        take_turns(
            f"Photo ({PHOTO_SIDE_PX} px JPEG) -> decode, detect, align -> embeddings",
            {
                "embed_p50_ms": ("ours", our_photo),
                "paper_way_p50_ms": ("paper (same detector and alignment)", paper_photo),
            },
            rounds,
        ),
    ]
    if (dlib_photo := face_recognition_way(photo)) is not None:
        comparisons.append(
            take_turns(
                f"Photo ({PHOTO_SIDE_PX} px JPEG) -> embeddings",
                {
                    "embed_beside_dlib_p50_ms": ("ours", our_photo),
                    "face_recognition_p50_ms": ("face_recognition (dlib)", dlib_photo),
                },
                rounds,
            )
        )
    for name, size_px in LARGER_PHOTOS_PX.items():
        large = demo_photo(size_px, GRAIN)
        comparisons.append(
            take_turns(
                f"Photo, {size_px[0]} x {size_px[1]} px, {len(large) / 1e6:.1f} MB -> embeddings",
                {
                    f"embed_beside_{name}_p50_ms": (f"{PHOTO_SIDE_PX} px", our_photo),
                    f"embed_{name}_p50_ms": (name, partial(our_photo, large)),
                },
                rounds,
            )
        )
    return [*comparisons, growth_with_pixels(our_photo, rounds)]


def growth_with_pixels(embed: Callable[[bytes], object], rounds: int) -> Growth:
    photos = {size_px: demo_photo(size_px, GRAIN) for size_px in GROWTH_PX}
    ways = {
        f"{width} x {height} px": (f"{width} x {height} px", partial(embed, photo))
        for (width, height), photo in photos.items()
    }
    times_ms = take_turns("Photos of all sizes", ways, rounds).times_ms
    megapixels = [width * height / 1e6 for width, height in GROWTH_PX]
    medians = [median(times) for times in times_ms.values()]
    growth = Growth(
        "embed",
        "megapixels",
        "p50 from photo to embeddings, ms, one core",
        megapixels,
        {"ours": medians},
    )
    growth.draw()
    return growth


def face_recognition_way(photo: bytes) -> Callable[[], object] | None:
    """None where the package is not installed: it is compiled on the spot, for minutes."""
    try:
        import face_recognition
    except ImportError:
        print("face_recognition is not installed: not compared.\n")
        return None

    def embed() -> object:
        (found,) = face_recognition.face_encodings(
            face_recognition.load_image_file(io.BytesIO(photo))
        )
        return found

    return embed


def check_agreement(pipeline: Pipeline, paper: PaperWay, crop: NDArray[np.uint8]) -> None:
    """Both ways must give the same embedding, or the race means nothing."""
    ours = pipeline.engine.embed(crop[None]).heatmap[0]
    difference = float(np.abs(ours - paper.embed(crop)).max())
    print(f"Both ways answer the same embedding: largest difference {difference:.1e}\n")
    if difference > AGREEMENT:
        raise SystemExit(f"The two ways differ by {difference:.1e} > {AGREEMENT:.0e}.")


def demo_photo(size_px: tuple[int, int], grain: float = 0.0, seed: int = SEED) -> bytes:
    """The first demo person's first photo, enlarged; `grain`: noise on top, grey levels."""
    source = Image.open(min(PEOPLE.glob("*/*"))).convert("RGB").resize(size_px)
    pixels = np.asarray(source, dtype=np.float32)
    noise = np.random.default_rng(seed).normal(0, grain, pixels.shape)
    file = io.BytesIO()
    noisy = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
    noisy.save(file, "JPEG", quality=PHOTO_QUALITY)
    return file.getvalue()
