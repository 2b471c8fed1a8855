"""One place for all that an operator can set, and the command that tells and uses it."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway_server.auth import Keyring
from gateway_server.cli import main
from gateway_server.database import Database
from gateway_server.problems import Unauthorized
from gateway_server.settings import Settings, SettingsError

REQUIRED = {"INTERNAL_TOKEN": "secret"}


def test_defaults_do_for_all_but_the_token():
    settings = Settings.from_mapping(REQUIRED)

    assert settings.database_url == "sqlite+aiosqlite:///./data/gateway.db"
    assert settings.max_photo_bytes == 20 * 1024 * 1024
    assert settings.port == 8000


def test_each_setting_is_read_as_what_it_is():
    named = {"PORT": "9000", "PHOTO_DIR": "/srv/photos", "READ_TIMEOUT_S": "1.5", "HOST": " ::1 "}

    settings = Settings.from_mapping({**REQUIRED, **named, "UNRELATED": "x"})

    assert (settings.port, settings.photo_dir) == (9000, Path("/srv/photos"))
    assert (settings.read_timeout_s, settings.host) == (1.5, "::1")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "INTERNAL_TOKEN must be set"),
        ({"INTERNAL_TOKEN": " "}, "INTERNAL_TOKEN must be set"),
        ({**REQUIRED, "PORT": "http"}, "PORT is 'http'; it is a number of port"),
        ({**REQUIRED, "WORKERS": "0"}, "WORKERS is 0; it may not be below 1"),
        ({**REQUIRED, "READ_TIMEOUT_S": "-1"}, "READ_TIMEOUT_S is -1; it may not be below 0"),
        ({**REQUIRED, "READ_TIMEOUT_S": "nan"}, "READ_TIMEOUT_S is nan; it may not be below 0"),
        ({**REQUIRED, "MAX_PHOTO_BYTES": "2e7"}, "MAX_PHOTO_BYTES is '2e7'"),
        ({**REQUIRED, "PORT": "99999"}, "PORT is 99999; it may not be above 65535"),
        ({**REQUIRED, "DATABASE_URL": "mysql://u:p@db/gateway"}, "DATABASE_URL must begin with"),
        ({**REQUIRED, "DATABASE_URL": "gateway.db"}, "DATABASE_URL must begin with sqlite://"),
        ({**REQUIRED, "CACHE_URL": "memcached://cache"}, "CACHE_URL must begin with memory://"),
        ({**REQUIRED, "INFERENCE_URL": "inference:8001"}, "INFERENCE_URL must begin with http://"),
        ({"INTERNAL_TOKEN": "schlüssel"}, "INTERNAL_TOKEN travels in an HTTP header"),
        ({"INTERNAL_TOKEN": "two\nlines"}, "INTERNAL_TOKEN travels in an HTTP header"),
    ],
)
def test_a_wrong_setting_is_named(named, message):
    with pytest.raises(SettingsError, match=message):
        Settings.from_mapping(named)


def test_settings_do_not_show_their_secrets():
    named = {
        "INTERNAL_TOKEN": "hidden1",
        "DATABASE_URL": "sqlite:///hidden2",
        "CACHE_URL": "redis://hidden3",
    }

    assert "hidden" not in repr(Settings.from_mapping(named))


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings.from_mapping(REQUIRED).port = 1


def test_the_settings_command_lists_every_setting(capsys):
    assert main(["settings"]) == 0

    listed = capsys.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in listed] == [row.name for row in Settings.rows()]
    assert all(row.unit and row.help for row in Settings.rows())


@pytest.fixture
def named_environment(monkeypatch, tmp_path):
    for row in Settings.rows():
        monkeypatch.delenv(row.name, raising=False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/new/gateway.db")
    monkeypatch.setenv("INTERNAL_TOKEN", "secret")


@pytest.mark.usefixtures("named_environment")
def test_keys_are_created_listed_and_revoked(capsys):
    assert main(["keys", "create", "--role", "operator", "--name", "desk 1"]) == 0
    key = capsys.readouterr().out.strip()
    key_id = key.split("_")[1]
    assert identify(key) == "operator"

    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in (key_id, "operator", "desk 1", "valid"))
    assert key not in listed

    assert main(["keys", "revoke", key_id]) == 0
    assert main(["keys", "revoke", key_id]) == 1
    assert "no valid key" in capsys.readouterr().err
    main(["keys", "list"])
    assert "revoked" in capsys.readouterr().out
    with pytest.raises(Unauthorized):
        identify(key)


def identify(key: str) -> str:
    async def ask() -> str:
        database = Database(os.environ["DATABASE_URL"])
        try:
            return (await Keyring(database).identify(key)).role
        finally:
            await database.close()

    return asyncio.run(ask())


@pytest.mark.usefixtures("named_environment")
def test_keys_need_no_secret_of_the_serving_process(monkeypatch):
    monkeypatch.delenv("INTERNAL_TOKEN")

    assert main(["keys", "create", "--role", "mobile", "--name", "phone"]) == 0


@pytest.mark.usefixtures("named_environment")
def test_the_database_is_readable_to_its_owner_alone(tmp_path):
    main(["keys", "create", "--role", "mobile", "--name", "phone"])

    assert (tmp_path / "new" / "gateway.db").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("named_environment")
def test_a_role_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["keys", "create", "--role", "root", "--name", "x"])

    assert ended.value.code == 2
    assert "mobile" in capsys.readouterr().err


@pytest.mark.usefixtures("named_environment")
def test_a_command_that_cannot_start_says_why_in_one_line(capsys, monkeypatch):
    monkeypatch.delenv("INTERNAL_TOKEN")

    assert main(["serve"]) == 1
    assert capsys.readouterr().err.startswith("gateway-server: INTERNAL_TOKEN must be set")


def test_a_refused_url_does_not_show_its_password():
    named = {**REQUIRED, "DATABASE_URL": "mysql://user:hidden@db/gateway"}
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping(named)
    assert "hidden" not in str(refused.value)


@pytest.mark.usefixtures("named_environment")
@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "99999"), ("DATABASE_URL", "mysql://x"), ("INTERNAL_TOKEN", "é")]
)
def test_a_server_that_could_never_work_says_why_in_one_line(capsys, monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert main(["serve"]) == 1
    assert capsys.readouterr().err.startswith(f"gateway-server: {name} ")


@pytest.mark.usefixtures("named_environment")
def test_commands_that_need_the_database_alone_refuse_another_kind_of_it(capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://x")

    assert main(["keys", "list"]) == 1
    assert capsys.readouterr().err.startswith("gateway-server: DATABASE_URL must begin with")


@pytest.mark.usefixtures("named_environment")
def test_a_database_that_is_away_is_told_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")

    assert main(["keys", "list"]) == 1
    assert capsys.readouterr().err.startswith("gateway-server: ")
