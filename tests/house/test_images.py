"""The Dockerfiles, held against the distributions and settings that they package."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gateway_server.settings import Settings as GatewaySettings
from inference_server.settings import Settings as InferenceSettings
from tests.house.tree import ROOT, manifest
from tools.rehearse_images import IMAGES, let_through, read_dockerfile

SETTINGS = {"gateway-server": GatewaySettings, "inference-server": InferenceSettings}
OF_THE_INTERPRETER = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
SERVERS = tuple(SETTINGS)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_does_not_run_as_root(image: str):
    (user,) = read_dockerfile(image).all("USER")

    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_copies_only_what_dockerignore_lets_through(image: str):
    offered = {path.relative_to(ROOT).parts[0] for path in let_through() if path.exists()}

    assert set(read_dockerfile(image).sources) <= offered


def test_dockerignore_names_only_what_exists():
    assert [path for path in let_through() if not path.exists()] == []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_installs_extras_that_exist_and_never_training(image: str):
    for argument in read_dockerfile(image).pip_arguments:
        if argument.startswith("./"):
            asked = Requirement(argument.removeprefix("./"))
            offered = manifest(ROOT / asked.name)["project"].get("optional-dependencies", {})
            assert asked.extras <= offered.keys() - {"training"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_images_entry_point_is_a_console_script(image: str):
    (command,) = read_dockerfile(image).entry_point

    assert command in manifest(ROOT / image)["project"]["scripts"]


@pytest.mark.parametrize("server", SERVERS)
def test_an_images_variables_are_settings(server: str):
    stated = read_dockerfile(server).environment.keys() - OF_THE_INTERPRETER

    assert stated <= {field.name.upper() for field in fields(SETTINGS[server])}


@pytest.mark.parametrize("server", SERVERS)
def test_an_image_exposes_and_probes_the_port_that_it_serves(server: str):
    image = read_dockerfile(server)
    served = SETTINGS[server].from_mapping(image.environment | {"INTERNAL_TOKEN": "t" * 32}).port

    (probe,) = image.all("HEALTHCHECK")

    assert image.all("EXPOSE") == [str(served)]
    assert f"http://127.0.0.1:{served}/readyz" in probe


@pytest.mark.parametrize("server", SERVERS)
def test_an_image_keeps_everything_in_its_volume(server: str):
    image = read_dockerfile(server)
    paths = [v for v in image.environment.values() if re.search(r"/\w+(\.db|/photos)$", v)]

    assert image.all("VOLUME") == ["/data"]
    assert paths
    assert all("/data/" in path for path in paths)


def test_every_folder_with_a_server_has_an_image():
    assert sorted(p.parent.name for p in Path(ROOT).glob("*/Dockerfile")) == sorted(IMAGES)
