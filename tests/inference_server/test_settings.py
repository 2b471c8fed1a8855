"""The environment -> settings; what cannot be meant stops the server before it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from face_models.pipeline import PipelineSettings
from face_models.spec import WEIGHTS_DIR
from inference_server.app import demands_of
from inference_server.cli import main
from inference_server.gallery.database import open_database
from inference_server.settings import Settings, SettingsError

TOKEN = "t" * 32


def test_the_token_alone_is_enough():
    settings = Settings.from_mapping({"INTERNAL_TOKEN": TOKEN})
    assert (settings.port, settings.workers, settings.host) == (8001, 2, "127.0.0.1")
    assert settings.database_url == "sqlite:///./data/gallery.db"
    assert settings.weights_dir == WEIGHTS_DIR


def test_every_setting_is_read_from_the_variable_of_its_name():
    given = {
        "INTERNAL_TOKEN": TOKEN,
        "DATABASE_URL": "postgresql://gallery@db/gallery",
        "PORT": "9001",
        "MIN_FACE_PX": "30.5",
        "WEIGHTS_DIR": "/srv/weights",
        "MAX_PHOTO_BYTES": "1000",
        "MAX_PHOTO_PIXELS": "2000",
        "MIN_QUALITY": "33",
    }
    settings = Settings.from_mapping(given)
    assert settings.database_url == given["DATABASE_URL"]
    assert (settings.port, settings.min_face_px) == (9001, 30.5)
    assert settings.weights_dir == Path("/srv/weights")
    demands = demands_of(settings)
    assert (demands.limits.max_bytes, demands.limits.max_pixels) == (1000, 2000)
    assert (demands.min_face_px, demands.min_quality) == (30.5, 33)


def test_descriptor_and_flip_reach_the_pipeline():
    given = {"INTERNAL_TOKEN": TOKEN, "DESCRIPTOR": "heatmap", "FLIP": "1"}
    demands = demands_of(Settings.from_mapping(given))
    assert (demands.descriptor, demands.flip) == ("heatmap", True)


def test_the_pipelines_own_demands_are_the_defaults():
    assert demands_of(Settings.from_mapping({"INTERNAL_TOKEN": TOKEN})) == PipelineSettings()


def test_what_must_not_be_imported_before_the_fork_is_not():
    code = (
        "import sys, inference_server.cli, inference_server.serving;"
        "print({'onnxruntime', 'prometheus_client'} & sys.modules.keys())"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    imported = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERNAL_TOKEN", ""),
        ("INTERNAL_TOKEN", "too short"),
        ("INTERNAL_TOKEN", "schlüssel" * 4),
        ("INTERNAL_TOKEN", "two\nlines" * 4),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "99999"),
        ("PORT", "-1"),
        ("WORKERS", "0"),
        ("THREADS", "2.5"),
        ("ONNX_THREADS", "0"),
        ("MAX_PHOTO_BYTES", "0"),
        ("MIN_QUALITY", "101"),
        ("DESCRIPTOR", "gradcam"),
        ("FLIP", "yes"),
        ("FLIP", "2"),
        ("LEAD_MAX_EXPECTED_FALSE_MATCHES", "nan"),
        ("VERIFY_MAX_FALSE_MATCH_RATE", "2"),
        ("LOG_LEVEL", "LOUD"),
        ("INDEX_KIND", "flat"),
        ("INDEX_URL", "data/index.db"),  # two workers by default, and Milvus Lite is for one
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: str):
    with pytest.raises(SettingsError, match=name):
        Settings.from_mapping({"INTERNAL_TOKEN": TOKEN, name: value})


def test_what_is_not_set_is_not_there():
    settings = Settings.from_mapping({"INTERNAL_TOKEN": TOKEN})
    assert (settings.index_url, settings.shadow_weights_dir) == ("", None)
    given = {"INDEX_URL": "http://milvus:19530", "SHADOW_WEIGHTS_DIR": "/srv/new"}
    settings = Settings.from_mapping({"INTERNAL_TOKEN": TOKEN, **given})
    assert settings.index_url == given["INDEX_URL"]
    assert settings.shadow_weights_dir == Path("/srv/new")


def test_every_setting_has_a_row_with_unit_and_help():
    rows = list(Settings.rows())
    assert [row.name for row in rows] == [field.name.upper() for field in fields(Settings)]
    assert all(row.default and row.unit and row.help for row in rows)


def test_the_settings_are_listed_by_a_command(capsys: pytest.CaptureFixture[str]):
    main(["settings"])
    listed = capsys.readouterr().out
    assert all(row.name in listed and row.help in listed for row in Settings.rows())


def test_a_database_whose_driver_is_missing_is_refused_by_the_drivers_name(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("inference_server.gallery.database.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="psycopg"):
        open_database("postgresql://gallery@db/gallery")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "INTERNAL_TOKEN"),
        ({"INTERNAL_TOKEN": TOKEN, "PORT": "99999"}, "PORT"),
        ({"INTERNAL_TOKEN": "é" * 32}, "INTERNAL_TOKEN"),
        ({"INTERNAL_TOKEN": TOKEN, "DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"INTERNAL_TOKEN": TOKEN, "WEIGHTS_DIR": "/proc/none"}, "model.json"),
        ({"INTERNAL_TOKEN": TOKEN, "SHADOW_WEIGHTS_DIR": "/proc/none"}, "model.json"),
        ({"INTERNAL_TOKEN": TOKEN, "INDEX_URL": "ftp://x"}, "INDEX_URL"),
    ],
    ids=[
        "no-token",
        "no-port",
        "no-header",
        "unknown-engine",
        "no-weights",
        "no-shadow",
        "no-milvus",
    ],
)
def test_a_server_that_could_never_work_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    named: str,
):
    for row in Settings.rows():
        monkeypatch.delenv(row.name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        main(["serve"])
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err
