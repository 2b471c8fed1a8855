"""Figures in words: as sure as they are, never surer."""

import pytest

from gateway_server.console.scores import Chance, chance_of, few, percent, strength


@pytest.mark.parametrize(
    ("expected", "chance"),
    [
        (40.4, Chance("people", "40", "1", 0)),
        (1.0, Chance("people", "1", "1", 0)),
        (0.96, Chance("people", "1", "1", 0)),
        (0.5, Chance("searches", "5", "10", 5)),
        (0.1, Chance("searches", "1", "10", 17)),
        (0.092, Chance("searches", "9", "100", 17)),
        (0.004, Chance("searches", "4", "1,000", 40)),
        (0.0000034, Chance("searches", "3", "1,000,000", 91)),
        (0.000001, Chance("searches", "1", "1,000,000", 100)),
        (0.0000009, Chance("rarer", "1", "1,000,000", 100)),
        (0.0, Chance("rarer", "1", "1,000,000", 100)),
    ],
)
def test_what_chance_would_do(expected, chance):
    assert chance_of(expected) == chance


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "< 1 %"),
        (0.01, "1 %"),
        (0.5, "50 %"),
        (0.989, "99 %"),
        (0.998, "99.8 %"),
        (0.999, "99.9 %"),
        (0.9991, "> 99.9 %"),
        (1.0, "> 99.9 %"),
    ],
)
def test_a_confidence_is_neither_nothing_nor_everything(share, said):
    assert percent(share) == said


@pytest.mark.parametrize(
    ("confidence", "key"),
    [(1.0, "strong"), (0.99, "strong"), (0.9, "fair"), (0.5, "weak"), (0.49, "faint")],
)
def test_how_strong_a_confidence_is(confidence, key):
    assert strength(confidence) == key


@pytest.mark.parametrize(
    ("expected", "said"), [(0.0, "< 0.001"), (0.004, "0.004"), (0.12, "0.12"), (12.3, "12")]
)
def test_a_small_number_is_written_as_people_write_it(expected, said):
    assert few(expected) == said
