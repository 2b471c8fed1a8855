"""What was tried on the way of a photo, beside what is kept: time, and accuracy where it moves.

    .venv/bin/python -m pip install openvino simplejpeg     # not needed by Reunite
    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/choices.py [--data FOLDER]

One thread, taking turns. `--data`: a training data folder; its validation identities judge the
engines' embeddings, scenes of its held-out photos the views. The report tells why each stayed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from choice import ROUNDS, SEED, Choice, installed, table_of, timed
from choices_of_engines import accuracies, batches, engines, one_graph
from choices_of_looks import (
    coarse_looks,
    found_by_second_looks,
    found_by_views,
    found_from_afar,
    second_looks,
    views,
)
from embed import GRAIN, demo_photo
from PIL import Image
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from face_models.training.provenance import provenance

REPORTS = Path(__file__).parents[1] / "reports"
LARGE_PX = (4000, 3000)
HALF = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="training data, for the engines' accuracy")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="of its pixels")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    accuracy = accuracies(options.data, options.cache) if options.data else {}
    found = found_by_views(options.data) if options.data else {}
    coarse = found_from_afar(options.data) if options.data else {}
    seconds = found_by_second_looks(options.data, options.cache) if options.data else {}
    choices = [
        *(decoders(), views(found), coarse_looks(coarse), second_looks(seconds)),
        *engines(accuracy),
        *(batches(), one_graph(), bodies()),
    ]
    write(choices, "demo photo with grain" + (", validation data" if accuracy else ""))


def decoders() -> Choice:
    photo = demo_photo(LARGE_PX, GRAIN)
    ways: dict[str, Callable[[], object]] = {
        "Pillow, draft (kept)": partial(_pillow, photo),
        "OpenCV, reduced": lambda: cv2.imdecode(
            np.frombuffer(photo, np.uint8), cv2.IMREAD_REDUCED_COLOR_2
        ),
    }
    if simplejpeg := installed("simplejpeg"):
        ways["simplejpeg, by factor"] = lambda: simplejpeg.decode_jpeg(photo, min_factor=HALF)
        ways["simplejpeg, fast and coarse"] = lambda: simplejpeg.decode_jpeg(
            photo, min_factor=HALF, fastdct=True, fastupsample=True
        )
    return timed(
        f"JPEG of 12 megapixels, {len(photo) / 1e6:.1f} MB, to pixels at half size",
        ways,
        "Pillow stays. All are libjpeg-turbo, and most of the time is Huffman decoding, which no "
        "scale spares. OpenCV takes cut-off files for whole ones; simplejpeg would be one "
        "dependency more for what remains.",
    )


def _pillow(photo: bytes) -> object:
    image = Image.open(io.BytesIO(photo))
    image.draft(None, (image.width // HALF, image.height // HALF))
    return np.asarray(image)


def bodies() -> Choice:
    photo = demo_photo(LARGE_PX, GRAIN)
    form = EnvironBuilder(method="POST", data={"photo": (io.BytesIO(photo), "photo.jpg")})
    environ = form.get_environ()
    written, form_type = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]

    def read_body() -> bytes:
        body = EnvironBuilder(method="POST", data=photo, content_type="image/jpeg")
        return Request(body.get_environ()).get_data(cache=False)

    def read_form() -> bytes:
        sent = EnvironBuilder(method="POST", data=written, content_type=form_type)
        return bytes(Request(sent.get_environ()).files["photo"].read())

    return timed(
        f"Flask reads a photo of {len(photo) / 1e6:.1f} MB that the gateway sends",
        {"as the body (kept)": read_body, "as a form": read_form},
        "As the body; the form also had to be written.",
    )


def write(choices: Sequence[Choice], measured_on: str) -> None:
    source = asdict(provenance(measured_on, SEED))
    document = {"choices": [asdict(choice) for choice in choices], **source}
    (REPORTS / "choices.json").write_text(json.dumps(document, indent=2) + "\n")
    told = ", ".join(f"{key} {value}" for key, value in source.items() if key != "command")
    lines = [
        "# Tried on the way of a photo",
        "",
        f"`{source['command']}`: {told}. One thread, medians of {ROUNDS} turns.",
    ]
    for choice in choices:
        lines += ["", *table_of(choice)]
    (REPORTS / "choices.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
