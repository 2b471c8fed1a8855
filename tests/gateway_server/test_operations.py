"""Health, readiness, figures and the documentation of the contract."""

import shutil

import httpx
import pytest

from gateway_server.schemas import SEARCH_EXAMPLE, SearchOut
from tests.gateway_server.conftest import list_failures, run_gateway, search, slug_of
from tests.gateway_server.fake_inference import FakeInference, internal_error
from tests.gateway_server.photos import make_photo


async def test_health_is_told_without_a_look_at_anything(phone, inference):
    inference.fail("*", internal_error)

    answer = await phone.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert inference.calls == []


async def test_a_gateway_with_all_its_parts_is_ready(phone):
    answer = await phone.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": "ok", "photos": "ok", "inference": "ok"},
    }


async def test_without_inference_it_is_not_ready(phone, inference: FakeInference):
    inference.fail("ready", internal_error)

    answer = await phone.get("/readyz")

    assert (answer.status_code, slug_of(answer)) == (503, "not-ready")
    assert answer.json()["checks"]["inference"] == "inference-unavailable"
    assert answer.json()["checks"]["database"] == "ok"
    assert answer.headers["retry-after"]


async def test_without_its_photo_folder_it_is_not_ready(phone, photo_dir):
    shutil.rmtree(photo_dir)

    answer = await phone.get("/readyz")

    assert answer.json()["checks"]["photos"] == "photo-store-unavailable"


async def test_a_photo_that_cannot_be_stored_is_an_outage_and_no_search(
    phone, photo_dir, inference
):
    shutil.rmtree(photo_dir)

    answer = await search(phone, make_photo(1))

    assert (answer.status_code, slug_of(answer)) == (503, "photo-store-unavailable")
    assert answer.headers["retry-after"]
    assert inference.calls == []


async def test_a_photo_lost_after_it_was_stored_leaves_the_search_for_later(
    phone, operator, photo_dir, inference
):
    made = await search(phone, make_photo(1))
    inference.version += 1

    looks = []

    async def lose_photo(operation):
        looks.append(operation)
        if len(looks) == 2:  # the first one is for a cached answer, before the photo is stored
            shutil.rmtree(photo_dir)
            inference.before_answer = None

    inference.before_answer = lose_photo
    answer = await search(phone, make_photo(1))

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.json()["id"] != made.json()["id"]
    (failure,) = await list_failures(operator)
    assert (failure["search_id"], failure["attempts"]) == (answer.json()["id"], 1)
    assert failure["reason"] == "photo-store-unavailable"
    assert failure["next_attempt_at"] > failure["last_attempt_at"]


async def test_figures_are_told_in_prometheus_words(phone, inference):
    await search(phone, make_photo(1))
    await search(phone, make_photo(1))
    await phone.get("/nowhere")

    answer = await phone.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'gateway_requests_total{method="POST",route="/v1/searches",status="201"} 2.0',
        'gateway_requests_total{method="GET",route="(no route)",status="404"} 1.0',
        'gateway_searches_total{outcome="done"} 1.0',
        'gateway_searches_total{outcome="cached"} 1.0',
        'gateway_cache_total{outcome="hit"} 1.0',
        'gateway_cache_total{outcome="miss"} 1.0',
        'gateway_inference_calls_total{operation="match",outcome="answered"} 1.0',
    ):
        assert line in answer.text.splitlines()


async def test_what_waits_and_what_failed_is_told_in_prometheus_words(phone, inference):
    inference.fail("match", internal_error)
    await search(phone, make_photo(1))

    told = (await phone.get("/metrics")).text.splitlines()

    for line in (
        "gateway_jobs_waiting 1.0",
        "gateway_jobs_oldest_seconds 0.0",
        "gateway_jobs_running 0.0",
        'gateway_breaker_state{state="closed"} 1.0',
        'gateway_breaker_state{state="open"} 0.0',
        'gateway_failures_total{kind="search",reason="inference-failed"} 1.0',
        'gateway_searches_total{outcome="inference-failed"} 1.0',
    ):
        assert line in told


async def test_the_contract_is_documented(phone):
    document = (await phone.get("/openapi.json")).json()

    assert document["openapi"].startswith("3.1")
    form = document["paths"]["/v1/searches"]["post"]["requestBody"]["content"]
    fields = form["multipart/form-data"]["schema"]["properties"]
    assert fields.keys() == {"photo", "top_k", "model", "face", "case_reference", "purpose"}


async def test_every_operation_documents_its_problems(running):
    for path, operations in running.app.openapi()["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for operation in operations.values():
            documented = {
                status
                for status, answer in operation["responses"].items()
                if "application/problem+json" in answer.get("content", {})
            }
            assert documented >= {"401", "403", "422", "503"}, path


async def test_the_documented_example_is_a_search(phone, enrol):
    await enrol("Ada", make_photo(1))
    found = (await search(phone, make_photo(1))).json()

    SearchOut.model_validate(SEARCH_EXAMPLE)
    assert SEARCH_EXAMPLE.keys() == found.keys()
    assert SEARCH_EXAMPLE["candidates"][0].keys() == found["candidates"][0].keys()


async def test_the_documented_schemas_have_the_members_of_the_answers(running, phone, enrol):
    await enrol("Ada", make_photo(1))
    found = (await search(phone, make_photo(1))).json()

    schemas = running.app.openapi()["components"]["schemas"]
    assert found.keys() <= schemas["SearchOut"]["properties"].keys()
    assert found["candidates"][0].keys() == schemas["CandidateOut"]["properties"].keys()
    assert found["faces"][0].keys() == schemas["FaceFound"]["properties"].keys()


@pytest.mark.parametrize("broken", ["CACHE_URL", "DATABASE_URL"])
async def test_a_gateway_that_cannot_work_does_not_start(environment, inference, broken):
    environment[broken] = "nonsense://"

    with pytest.raises(Exception, match=r"CACHE_URL|DATABASE_URL"):
        async with run_gateway(environment, httpx.ASGITransport(inference.app)):
            pass
