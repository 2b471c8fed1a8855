"""`face-models`: every command that the parser names is there; what is missing is said."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

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


def test_a_missing_training_extra_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "face_models.training.history", None)
    with pytest.raises(SystemExit, match=r"pip install 'reunite-face-models\[training\]'"):
        main(["history", "base"])
