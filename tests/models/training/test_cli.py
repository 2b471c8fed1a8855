"""`face-models`: every command that the parser names is there; what is missing is said."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from face_models.cli import build_parser, main
from face_models.training import commands

pytestmark = pytest.mark.training


def _named(parser: argparse.ArgumentParser) -> Iterator[str]:
    if "command" in parser._defaults:
        yield parser._defaults["command"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for step in action.choices.values():
                yield from _named(step)


def test_every_command_of_the_menu_is_a_function() -> None:
    names = list(_named(build_parser()))
    assert len(names) > 10
    assert [name for name in names if not callable(getattr(commands, name, None))] == []


@pytest.mark.parametrize(
    "command",
    [
        ["prepare", "--data", "nowhere", "--runs", "runs"],
        ["train", "nowhere.toml"],
        ["history", "nowhere", "--runs", "runs"],
        ["export", "--runs", "runs", "--checkpoints", "kept", "--weights", "weights"],
        ["detector", "evaluate", "--data", "nowhere"],
    ],
)
def test_what_is_not_there_is_named_in_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^face-models: .*(nowhere|runs)"):
        main(command)


def test_a_missing_training_extra_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "face_models.training.commands", None)
    with pytest.raises(SystemExit, match=r"pip install 'reunite-face-models\[training\]'"):
        main(["history", "base"])
