"""What the phone says of a photo before it is sent, computed on the phone alone."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from demo.people import read_people
from face_models.detect import Detection, merged, network_input, view_of
from face_models.spec import WEIGHTS_DIR
from tests.browser import pictures
from tests.browser.conftest import PEOPLE
from tests.browser.phone import Phone

pytestmark = pytest.mark.browser
DETECTOR = WEIGHTS_DIR / "detector.onnx"
NETWORK = """const finder = '/app/face-finder.bin';
    const file = await (await fetch(finder)).arrayBuffer();
    const network = new (await import('/app/network.js')).FaceNetwork(file);
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));"""
RUN = f"""async ({{pixels, columns, rows}}) => {{ {NETWORK}
    return network.run(bytes(pixels), columns, rows).map(level => [...level.data]);
}}"""
FIND = f"""async photos => {{ {NETWORK}
    const {{findFaces}} = await import('/app/face-finder.js');
    const bitmap = photo => createImageBitmap(new Blob([bytes(photo)]));
    return Promise.all(photos.map(async photo => findFaces(network, await bitmap(photo))));
}}"""
MERGE = """async looks => (await import('/app/face-finder.js')).merged(...looks)"""
LIKELY_LOGIT = -3.0  # below, a cell says "no face" whatever its other numbers are
Faces = list[dict[str, float]]


@pytest.fixture
def page(visit):
    phone = Phone(visit(phone=True))
    phone.open()
    return phone.page


@pytest.fixture
def hints_of(visit, keys) -> Callable[[pictures.Payload], Sequence[str]]:
    phone = Phone(visit(phone=True))
    phone.sign_in(keys["mobile"])

    def look(photo: pictures.Payload) -> Sequence[str]:
        phone.add(photo)
        phone.visitor.shoot("hints")
        (kept,) = phone.photos()
        hints: Sequence[str] = kept["hints"]
        return hints

    return look


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda image: image, []),
        (pictures.darkened, ["too-dark"]),
        (pictures.blurred, ["blurred"]),
        (pictures.small_in_a_large_one, ["too-small"]),
        (lambda image: pictures.beside_each_other(image, image), ["several-faces"]),
        (lambda _image: pictures.without_a_face(7), ["no-face"]),
    ],
    ids=["good", "dark", "blurred", "small", "two", "nobody"],
)
def test_a_photo_is_told_what_spoils_it(hints_of, people, spoil, told):
    photo = pictures.as_file(spoil(pictures.portrait(people[0])))

    assert hints_of(photo) == told


def test_an_overexposed_photo_is_told_so_whether_or_not_a_face_is_left_in_it(hints_of, people):
    photo = pictures.as_file(pictures.overexposed(pictures.portrait(people[1])))

    assert "too-bright" in hints_of(photo)


def test_what_the_browser_cannot_read_is_left_to_the_server(hints_of):
    photo = {"name": "photo.heic", "mimeType": "image/heic", "buffer": b"\0\0\0\x18ftypheic"}

    assert hints_of(photo) == ["unchecked"]


def test_it_answers_with_the_servers_numbers_where_there_may_be_a_face(page, people):
    with Image.open(people[0].probe) as image:
        view = view_of(np.asarray(image.convert("RGB")), 320)
    expected = onnxruntime.InferenceSession(DETECTOR).run(None, {"rgb": network_input(view.canvas)})
    rows, columns = view.canvas.shape[:2]
    rgba = np.dstack([view.canvas, np.full((rows, columns), 255, np.uint8)])
    pixels = base64.b64encode(rgba.tobytes()).decode()

    levels = page.evaluate(RUN, {"pixels": pixels, "columns": columns, "rows": rows})

    for level, answers in zip(levels, expected, strict=True):
        found = np.array(level).reshape(answers.shape)
        likely = answers[:, :1] > LIKELY_LOGIT
        assert np.abs(np.where(likely, found - answers, 0)).max() < 0.05
        assert found[:, :1][~likely].max(initial=-9.0) < LIKELY_LOGIT + 0.5


def test_every_other_demo_person_is_found_once_and_nobody_in_pictures_without_a_face(page):
    portraits = [person.probe.read_bytes() for person in read_people(PEOPLE)[::2]]
    empty = [pictures.as_file(pictures.without_a_face(seed))["buffer"] for seed in range(6)]

    assert counted(page, portraits) == [1] * len(portraits)
    assert counted(page, empty) == [0] * len(empty)


def test_a_face_that_fills_the_frame_is_found_once(page):
    """Two looks see it, and not with the same box."""
    filled = [pictures.as_file(pictures.close(person)) for person in read_people(PEOPLE)[1::2]]

    assert counted(page, [one["buffer"] for one in filled]) == [1] * len(filled)


def test_two_looks_are_merged_as_on_the_server(page):
    random = np.random.default_rng(3)
    looks = [
        [
            dict(zip(("x", "y", "width", "height", "logit"), row, strict=True))
            for row in np.column_stack(
                [random.uniform(0, 300, (40, 2)), random.uniform(40, 160, (40, 2)), logits]
            ).tolist()
        ]
        for logits in random.normal(0, 2, (2, 40))
    ]
    expected = merged(*([detection(one) for one in look] for look in looks))

    found = page.evaluate(MERGE, looks)

    assert 0 < len(expected) < 80
    assert [detection(one).box for one in found] == [one.box for one in expected]


def detection(one: dict[str, float]) -> Detection:
    box = (one["x"], one["y"], one["width"], one["height"])
    return Detection(box, 1 / (1 + np.exp(-one["logit"])), np.zeros((5, 2), np.float32))


def counted(page: Any, photos: Sequence[bytes]) -> list[int]:
    found: list[Faces] = page.evaluate(FIND, [base64.b64encode(one).decode() for one in photos])
    return [len(faces) for faces in found]
