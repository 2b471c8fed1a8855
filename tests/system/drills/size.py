"""How large a drill is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    phones: int
    uploads: int
    kills: int
    outage_s: float
    hostile: int
    examples: int
    load_s: float
    load_rounds: int
    steady_s: float


FULL = Size(
    phones=20,
    uploads=300,
    kills=20,
    outage_s=10,
    hostile=1000,
    examples=50,
    load_s=30,
    load_rounds=3,
    steady_s=600,
)
SMALL = Size(
    phones=4,
    uploads=24,
    kills=2,
    outage_s=2,
    hostile=60,
    examples=3,
    load_s=4,
    load_rounds=1,
    steady_s=5,
)
