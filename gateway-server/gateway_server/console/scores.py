"""A candidate's figures in words: what is known of a match, and what chance would do."""

import math
from dataclasses import dataclass
from typing import Final

MOST_DECIMALS: Final = 6  # one in a million searches: finer than anybody has measured
ABOUT_ONE: Final = 0.95
STRONG: Final = 0.99
FAIR: Final = 0.9
WEAK: Final = 0.5


@dataclass(frozen=True)
class Chance:
    """About `n` of `searches` show such a match by chance; `key` says which sentence fits."""

    key: str
    n: str
    searches: str
    weight: int
    """0 to 100 for a bar: the longer, the less chance explains."""


def chance_of(expected_false_matches: float) -> Chance:
    weight = _weight(expected_false_matches)
    if expected_false_matches >= ABOUT_ONE:
        return Chance("people", f"{round(expected_false_matches):,}", "1", weight)
    least = 10.0**-MOST_DECIMALS
    if expected_false_matches < least:
        return Chance("rarer", "1", f"{10**MOST_DECIMALS:,}", weight)
    decimals = math.ceil(-math.log10(expected_false_matches) - 1e-9)
    searches = 10 ** max(decimals, 1)
    return Chance("searches", f"{expected_false_matches * searches:.0f}", f"{searches:,}", weight)


def _weight(expected_false_matches: float) -> int:
    """On a logarithmic scale: nothing where one stranger is expected, 100 at one in a million."""
    decades = -math.log10(max(expected_false_matches, 10.0**-MOST_DECIMALS))
    return round(100 * min(max(decades / MOST_DECIMALS, 0.0), 1.0))


def percent(share: float) -> str:
    """Never 100 %, and never 0: nobody is that sure."""
    if share > 0.999:
        return "> 99.9 %"
    if share < 0.01:
        return "< 1 %"
    return f"{100 * share:.1f} %" if share >= STRONG else f"{100 * share:.0f} %"


def few(expected: float) -> str:
    """A small number as people write it."""
    if expected < 0.001:
        return "< 0.001"
    return f"{expected:.0f}" if expected >= 10 else f"{expected:.2g}"


def strength(confidence: float) -> str:
    """The end of a text's key."""
    if confidence >= STRONG:
        return "strong"
    if confidence >= FAIR:
        return "fair"
    return "weak" if confidence >= WEAK else "faint"
