"""What the gateway expects of the inference tier, held against the real one and against its fake.

The same calls through the gateway's own client: what holds for the fake that the gateway is tested
with must hold for the real server with the shipped networks, over a real socket.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest
from PIL import Image
from werkzeug.serving import make_server

from face_models.pipeline import Pipeline
from gateway_server.breaker import Breaker, BreakerSettings
from gateway_server.inference_client import InferenceClient, make_http
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import StoredPhoto
from gateway_server.problems import InferenceUnavailable, PhotoRefused
from gateway_server.settings import Settings
from inference_server.app import create_app
from inference_server.face_pipeline import stamp_of
from inference_server.gallery import Gallery
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings as InferenceSettings
from tests.gateway_server.fake_inference import TOKEN, FakeInference

PEOPLE = Path(__file__).parents[1] / "data" / "people"


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def demo_photo(person: str, number: int) -> Image.Image:
    return Image.open(PEOPLE / f"demo-{person}" / f"{number}.webp").convert("RGB")


def nobody() -> bytes:
    return jpeg(Image.new("RGB", (300, 300), (90, 110, 130)))


def blurred_beyond_use() -> bytes:
    return jpeg(demo_photo("ada", 1).resize((6, 6)).resize((600, 600)))


def cut_short() -> bytes:
    whole = jpeg(demo_photo("ada", 1).resize((600, 600)))
    return whole[: len(whole) // 3]


REFUSED = [
    pytest.param(nobody, {"no-face"}, id="nobody in it"),
    pytest.param(cut_short, {"unreadable-image"}, id="cut short"),
    pytest.param(blurred_beyond_use, {"quality-too-low", "no-face"}, id="blurred beyond use"),
]


def grained(photo: bytes) -> bytes:
    """Enlarged, and with a sensor's noise: megabytes of every value there is."""
    picture = Image.open(io.BytesIO(photo)).convert("RGB").resize((2000, 2000))
    noise = np.random.default_rng(3).normal(0, 12, (2000, 2000, 3))
    pixels = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)
    return jpeg(Image.fromarray(pixels))


def stored(photo: bytes) -> StoredPhoto:
    return StoredPhoto(photo, "image/jpeg")


ADA = stored(jpeg(demo_photo("ada", 1)))
BO = stored(jpeg(demo_photo("bo", 1)))


@dataclass(frozen=True)
class Tier:
    url: str
    transport: httpx.AsyncBaseTransport | None = None
    fake: FakeInference | None = field(default=None)

    def client(self, token: str = TOKEN) -> InferenceClient:
        named = {"INTERNAL_TOKEN": token, "INFERENCE_URL": self.url}
        http = make_http(Settings.from_mapping(named), self.transport)
        return InferenceClient(http, Metrics(), Breaker(BreakerSettings(failures=5, pause_s=1)))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load()


@pytest.fixture(params=["fake", "real"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    if request.param == "fake":
        fake = FakeInference()
        yield Tier("http://inference", httpx.ASGITransport(fake.app), fake)
    else:
        yield from real_tier(request.getfixturevalue("pipeline"), tmp_path)


def real_tier(pipeline: Pipeline, folder: Path) -> Iterator[Tier]:
    """The inference server's app on a free port of this machine."""
    settings = InferenceSettings.from_mapping({"INTERNAL_TOKEN": TOKEN})
    store = SqlStore(f"sqlite:///{folder}/gallery.db")
    gallery = Gallery(store, ExactIndex(store, stamp_of(pipeline)))
    server = make_server("127.0.0.1", 0, create_app(settings, pipeline, gallery), threaded=True)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield Tier(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    serving.join()
    server.server_close()
    store.close()


@pytest.fixture
async def inference(tier: Tier) -> AsyncIterator[InferenceClient]:
    client = tier.client()
    yield client
    await client._http.aclose()


async def test_an_enrolled_person_is_found_and_forgotten(inference: InferenceClient):
    before = await inference.gallery()
    for person_id, photo in (("ada", ADA), ("bo", BO)):
        await inference.put_person(person_id)
        enrolled = await inference.enrol(person_id, f"{person_id}-1", photo, None)
        assert enrolled.face_id == f"{person_id}-1"
    match = await inference.match(ADA, {"top_k": 5, "model": "heatmap"})
    assert [one.person_id for one in match.candidates] == ["ada", "bo"]
    assert [one.rank for one in match.candidates] == [1, 2]
    assert match.gallery.version > before.version
    await inference.delete_person("ada")
    match = await inference.match(ADA, {"top_k": 5, "model": "heatmap"})
    assert [one.person_id for one in match.candidates] == ["bo"]


async def test_enrolling_a_face_again_changes_nothing(inference: InferenceClient):
    await inference.put_person("ada")
    first = await inference.enrol("ada", "ada-1", ADA, None)
    version = (await inference.gallery()).version
    await inference.put_person("ada")
    assert await inference.enrol("ada", "ada-1", ADA, None) == first
    assert (await inference.gallery()).version == version


async def test_both_networks_answer_and_say_which_one_did(inference: InferenceClient):
    for name in ("base", "heatmap"):
        match = await inference.match(ADA, {"model": name})
        assert match.model.name == name
        assert len(match.model.sha256) == 64
    assert (await inference.gallery()).models.keys() == {"base", "heatmap"}


async def test_a_heatmap_is_a_png(inference: InferenceClient):
    assert (await inference.heatmap(ADA, {"model": "heatmap"})).startswith(b"\x89PNG")


async def test_whether_a_candidate_is_a_lead_is_said_of_each(inference: InferenceClient):
    for person_id, photo in (("ada", ADA), ("bo", BO)):
        await inference.put_person(person_id)
        await inference.enrol(person_id, f"{person_id}-1", photo, None)
    match = await inference.match(ADA, {})
    assert [one.is_lead for one in match.candidates] == [True, False]
    assert match.verdict == "lead"


async def test_all_faces_of_a_photo_are_told_and_none_is_no_error(
    tier: Tier, inference: InferenceClient
):
    found = await inference.faces(ADA)
    assert (len(found.faces), found.face) == (1, 0)
    if tier.fake:
        tier.fake.refuse(nobody(), "no-face")
    found = await inference.faces(stored(nobody()))
    assert (found.faces, found.face) == ([], None)


async def test_a_thumbnail_is_a_webp_even_where_nobody_is_seen(
    tier: Tier, inference: InferenceClient
):
    if tier.fake:
        tier.fake.refuse(nobody(), "no-face")
    for photo, face_index in ((ADA, None), (ADA, 0), (stored(nobody()), None)):
        webp = await inference.thumbnail(photo, face_index)
        assert (webp[:4], webp[8:12]) == (b"RIFF", b"WEBP")


async def test_the_model_is_told_with_its_card_its_plots_and_its_curves(
    inference: InferenceClient,
):
    told = await inference.model()
    assert {one.name for one in told.models} == {"base", "heatmap"}
    assert told.card.startswith("# Model card")
    curve = told.curves["heatmap"]
    assert len(curve.similarity) == len(curve.fmr)
    assert curve.fmr == sorted(curve.fmr, reverse=True)
    for name in told.plots:
        assert (await inference.plot(name)).startswith(b"\x89PNG")


async def test_removing_what_is_not_there_is_no_error(inference: InferenceClient):
    await inference.delete_person("nobody")
    await inference.delete_face("nobody", "none")


async def test_a_face_of_an_unknown_person_is_rejected(inference: InferenceClient):
    with pytest.raises(InferenceUnavailable) as rejected:
        await inference.enrol("stranger", "face-1", ADA, None)
    assert rejected.value.reason == "inference-rejected"


async def test_a_wrong_token_is_rejected(tier: Tier):
    client = tier.client(token="a token of somebody else")
    with pytest.raises(InferenceUnavailable) as rejected:
        await client.gallery()
    assert rejected.value.reason == "inference-rejected"
    await client._http.aclose()


@pytest.mark.parametrize(("make", "slugs"), REFUSED)
async def test_a_photo_that_cannot_be_used_is_refused_by_its_type(
    tier: Tier, inference: InferenceClient, make, slugs: set[str]
):
    photo = make()
    if tier.fake:
        tier.fake.refuse(photo, min(slugs))
    with pytest.raises(PhotoRefused) as refused:
        await inference.match(stored(photo), {})
    assert refused.value.slug in slugs


@pytest.mark.parametrize("tier", ["real"], indirect=True)
async def test_three_faces_are_all_told_and_one_can_be_chosen(inference: InferenceClient):
    together = np.concatenate([np.asarray(demo_photo(who, 1)) for who in ("ada", "bo", "cato")], 1)
    photo = stored(jpeg(Image.fromarray(together)))
    match = await inference.match(photo, {})
    assert len(match.faces) == 3
    assert "several_faces" in match.warnings
    assert (await inference.match(photo, {"face": 2})).face == 2
    with pytest.raises(PhotoRefused) as refused:
        await inference.match(photo, {"face": 3})
    assert refused.value.slug == "no-such-face"


async def test_a_photo_of_a_megabyte_is_searched_for(inference: InferenceClient):
    """As phones take them: it arrives in many pieces, and none of them may be misunderstood."""
    photo = stored(grained(ADA.data))
    assert len(photo.data) > 1_000_000
    match = await inference.match(photo, {"top_k": 5})
    assert len(match.faces) == 1
