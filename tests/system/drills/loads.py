"""Many phones at a time: throughput at saturation, what the cache is worth, memory over time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.drills.estate import Estate, estate
from tests.system.drills.size import Size

PHONES = 50
UNCACHED_RATE = 100  # per second: more than two cores can do
CACHED_RATE = 200
STEADY_RATE = 4
MOST_GROWTH = 1.25  # of the resident memory, from the end of the first tenth to the end


def saturation(folder: Path, size: Size) -> str:
    """Open loop, twice as much as can be done: first photos never seen, then the same few."""
    with estate(folder) as house:
        fresh = _load(house, UNCACHED_RATE, size.load_s, repeat_share=0.0)
        again = _load(house, CACHED_RATE, size.load_s, repeat_share=0.999)
        uncached, cached = fresh["achieved_per_s"], again["achieved_per_s"]
        return (
            f"uncached {uncached:.1f}/s ({_latency(fresh, 'accepted_uncached')}), cached "
            f"{cached:.1f}/s ({_latency(again, 'accepted_cached')}): {cached / uncached:.1f} x; "
            f"{fresh['searches']['lost'] + again['searches']['lost']} lost"
        )


def steady(folder: Path, size: Size) -> str:
    """A load well below saturation for a long time: memory does not grow."""
    with estate(folder) as house:
        _load(house, STEADY_RATE, max(2.0, size.steady_s / 10), repeat_share=0.5)
        before_mib = house.gateways[0].resident_mib
        measured = _load(house, STEADY_RATE, size.steady_s, repeat_share=0.5)
        after_mib = house.gateways[0].resident_mib
        growth = after_mib / before_mib
        assert growth < MOST_GROWTH, f"from {before_mib:.0f} to {after_mib:.0f} MiB"
        return (
            f"{measured['searches']['done']} searches in {size.steady_s:g} s, gateway "
            f"{before_mib:.0f} MiB before, {after_mib:.0f} MiB after; "
            f"{_latency(measured, 'finished_uncached')} uncached"
        )


def _load(house: Estate, rate: float, duration_s: float, *, repeat_share: float) -> dict[str, Any]:
    """Raises AssertionError where a search was lost or a 500 was seen."""
    report = house.folder / "load.json"
    done = subprocess.run(
        [
            Path(sys.executable).parent / "mobile-client-mock", "load",
            "--url", house.urls[0], "--key", house.mobile_key, "--phones", str(PHONES),
            "--rate", str(rate), "--duration", str(duration_s),
            "--repeat-share", str(repeat_share), "--seed", "3", "--json", str(report),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    measured: dict[str, Any] = json.loads(report.read_text())
    return measured


def _latency(measured: dict[str, Any], which: str) -> str:
    found = measured["latencies"][which]
    if found is None:
        return "none"
    return " ".join(f"{name} {1000 * found[f'{name}_s']:.0f} ms" for name in ("p50", "p95", "p99"))
