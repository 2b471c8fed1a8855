"""docker-compose.yml, held against the compose specification and the servers' settings."""

import re
import shutil
import subprocess
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gateway_server.settings import Settings as GatewaySettings
from inference_server.settings import Settings as InferenceSettings
from mobile_client_mock.cli import EPILOG
from tests.house.tree import ROOT

SETTINGS = {"gateway-server": GatewaySettings, "inference-server": InferenceSettings}
SERVICES = {
    "gateway-server": [],
    "inference-server": [],
    "gateway-database": ["postgres-redis"],
    "gallery-database": ["postgres-redis"],
    "cache": ["postgres-redis"],
    "milvus": ["milvus"],
    "milvus-catalogue": ["milvus"],
    "milvus-objects": ["milvus"],
    "mobile-client-mock": ["client"],
}
# The compose specification's own words, as far as this file uses them.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init",
    "networks", "pids_limit", "ports", "profiles", "read_only", "restart", "security_opt", "tmpfs",
    "user", "volumes",
}  # fmt: skip
NESTED_KEYS = {
    "build": {"context", "dockerfile"},
    "healthcheck": {"test", "interval", "timeout", "retries", "start_period"},
}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def example(*, grown_up: bool) -> dict[str, str]:
    """.env as an operator fills it in: plain, or with the lines for PostgreSQL and Redis."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = re.findall(r"^(# )?([A-Z_]+)=(.*)$", text, flags=re.MULTILINE)
    stated = {name: value for commented, name, value in lines if grown_up or not commented}
    secrets = {name: "s3cret" * 4 for name, value in stated.items() if not value}
    return {name: interpolated(value, secrets) for name, value in (stated | secrets).items()}


def interpolated(text: str, environment: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        return environment.get(name) or (rest if kind == "-" else "")

    return VARIABLE.sub(value, text)


def environment_of(service: str, *, grown_up: bool = False) -> dict[str, str]:
    stated = COMPOSE["services"][service]["environment"]
    return {name: interpolated(text, example(grown_up=grown_up)) for name, text in stated.items()}


def test_the_services_and_their_profiles_are_the_documented_ones():
    assert {n: s.get("profiles", []) for n, s in COMPOSE["services"].items()} == SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_uses_the_specifications_words(service: str):
    stated = COMPOSE["services"][service]

    assert stated.keys() <= SERVICE_KEYS
    for key, allowed in NESTED_KEYS.items():
        assert stated.get(key, {}).keys() <= allowed


def test_the_files_top_uses_the_specifications_words():
    top = {key for key in COMPOSE if not key.startswith("x-")}

    assert top == {"services", "networks", "volumes"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_only_networks_volumes_and_services_that_exist(service: str):
    stated = COMPOSE["services"][service]
    named = [v.rpartition(":/")[0] for v in stated.get("volumes", []) if not v.startswith("$")]

    assert set(stated["networks"]) <= COMPOSE["networks"].keys()
    assert set(named) <= COMPOSE["volumes"].keys()
    assert set(stated.get("depends_on", {})) <= COMPOSE["services"].keys()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_runs_with_no_more_rights_than_it_needs(service: str):
    stated = COMPOSE["services"][service]

    assert stated["read_only"] is True
    assert stated["cap_drop"] == ["ALL"]
    assert stated["security_opt"] == ["no-new-privileges:true"]
    if stated.get("profiles") == ["milvus"]:  # whose images write their volumes as root
        assert stated["user"] == "0:0"
    else:  # our own images name their user themselves
        assert "build" in stated or stated["user"] != "root"


def test_only_the_gateway_is_published_and_only_on_loopback_by_default():
    published = {name: s["ports"] for name, s in COMPOSE["services"].items() if "ports" in s}
    port = GatewaySettings.from_mapping({"INTERNAL_TOKEN": "t" * 32}).port

    assert published.keys() == {"gateway-server"}
    assert [interpolated(p, {}) for p in published["gateway-server"]] == [
        f"127.0.0.1:{port}:{port}"
    ]


def test_the_inference_tier_has_no_way_out():
    networks = COMPOSE["services"]["inference-server"]["networks"]

    assert all(COMPOSE["networks"][name].get("internal") for name in networks)


def test_milvus_is_reached_by_the_inference_tier_alone_and_its_stores_by_milvus_alone():
    users = {
        name: {service for service, s in COMPOSE["services"].items() if name in s["networks"]}
        for name in ("gallery-index", "milvus-stores")
    }

    assert users["gallery-index"] == {"inference-server", "milvus"}
    assert users["milvus-stores"] == {"milvus", "milvus-catalogue", "milvus-objects"}
    assert all(COMPOSE["networks"][name]["internal"] for name in users)


def test_no_network_sees_both_databases():
    seen = [
        set(COMPOSE["services"][name]["networks"])
        for name in ("gateway-database", "gallery-database")
    ]

    assert not seen[0] & seen[1]


@pytest.mark.parametrize("server", SETTINGS)
def test_a_servers_variables_are_its_settings(server: str):
    stated = COMPOSE["services"][server]["environment"].keys()

    assert stated <= {field.name.upper() for field in fields(SETTINGS[server])}


@pytest.mark.parametrize("grown_up", [False, True], ids=["embedded", "postgres-redis"])
@pytest.mark.parametrize("server", SETTINGS)
def test_a_server_accepts_what_compose_gives_it(server: str, grown_up: bool):
    given = environment_of(server, grown_up=grown_up)

    settings = SETTINGS[server].from_mapping(given)

    assert settings.database_url == given["DATABASE_URL"]
    assert ("postgresql" in settings.database_url) is grown_up


def test_the_clients_variables_are_the_ones_that_its_help_names():
    stated = COMPOSE["services"]["mobile-client-mock"]["environment"]

    assert all(name in EPILOG for name in stated)
    port = GatewaySettings.from_mapping(environment_of("gateway-server")).port
    assert stated["REUNITE_URL"] == f"http://gateway-server:{port}"


def test_every_address_that_compose_gives_is_a_service_on_a_shared_network():
    for server in SETTINGS:
        for url in environment_of(server, grown_up=True).values():
            host = urlsplit(url).hostname if "://" in url else None
            if host:
                both = (COMPOSE["services"][name]["networks"] for name in (server, host))
                assert set(next(both)) & set(next(both)), f"{server} cannot reach {host}"


def test_the_gateway_looks_for_the_inference_tier_where_it_listens():
    port = InferenceSettings.from_mapping(environment_of("inference-server")).port

    assert urlsplit(environment_of("gateway-server")["INFERENCE_URL"]).port == port


def test_the_example_names_every_variable_that_compose_reads_and_no_other():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    read = {match.group(1) for match in VARIABLE.finditer(text)} - {"PHOTOS"}

    assert example(grown_up=True).keys() - {"COMPOSE_PROFILES"} == read


@pytest.mark.parametrize("server", SETTINGS)
def test_the_internal_token_has_no_default(server: str):
    assert COMPOSE["services"][server]["environment"]["INTERNAL_TOKEN"].startswith(
        "${INTERNAL_TOKEN:?"
    )


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_compose_itself_accepts_the_file():
    checked = subprocess.run(
        ["docker-compose", "config", "--services"],
        cwd=ROOT,
        env=example(grown_up=True)
        | {"COMPOSE_PROFILES": "postgres-redis,milvus,client", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
    assert set(checked.stdout.split()) == SERVICES.keys()
