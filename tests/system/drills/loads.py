"""Many phones at a time: throughput at saturation, what the cache is worth, memory over time."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image, ImageFilter

from tests.system.drills.estate import Estate, demo_people, estate
from tests.system.drills.size import Size

PHONES = 50
FIRST_UNCACHED_RATE, FIRST_CACHED_RATE = 20.0, 100.0  # per second; doubled until they are too much
MOST_DOUBLINGS = 6
DONE_OF_TOO_MUCH = 0.7  # of the offered rate, at most
REPEATED = 0.999  # of a cached load's searches; the others bring the photos that are repeated
LEAST_WORTH = 20.0  # cached answers to uncached ones, per second
STEADY_RATE = 4.0
MOST_GROWTH = 1.25  # of the resident memory, from the end of the first tenth to the end
PHOTO_PX = (960, 1280)  # as large as phones send them
FACE_PX = (600, 800)
BLUR_PX = 12
NOISE, GRAIN = 64.0, 0.1  # as a sensor leaves it: without, a photo would be a tenth as many bytes


@dataclass(frozen=True)
class Saturated:
    """A load of more than can be done; what was done until nothing was left, per second."""

    measured: Mapping[str, Any]
    processor_s: float  # of both servers, together

    @property
    def per_s(self) -> float:
        return float(self.measured["searches"]["done"] / self.measured["last_done_s"])

    @property
    def processor_ms(self) -> float:
        """For each search."""
        return 1000 * self.processor_s / int(self.measured["searches"]["done"])

    def told(self, accepted: str) -> str:
        return (
            f"{self.per_s:.1f}/s (accepted {_latency(self.measured, accepted)}; "
            f"{self.processor_ms:.1f} ms of processor each)"
        )


def saturation(folder: Path, size: Size) -> str:
    """Open loop, more than can be done, uncached and cached by turns; rates are of what was done.

    The photos are as large for both, and made before the clock starts.
    """
    with estate(folder) as house:
        photos = phone_photos(folder / "phone")
        uncached_rate = _too_much(house, photos, FIRST_UNCACHED_RATE, 0.0, size.load_s)
        cached_rate = _too_much(house, photos, FIRST_CACHED_RATE, REPEATED, size.load_s)
        rounds = [
            (
                saturate(house, photos, uncached_rate, size.load_s, 0.0),
                saturate(house, photos, cached_rate, size.load_s, REPEATED),
            )
            for _ in range(size.load_rounds)
        ]
    worths = sorted(cached.per_s / uncached.per_s for uncached, cached in rounds)
    told = _told(rounds, worths)
    if len(rounds) > 1:  # one alone says little
        assert median(worths) >= LEAST_WORTH, f"missed {LEAST_WORTH:g} x: {told}"
    return told


def steady(folder: Path, size: Size) -> str:
    """A load well below saturation for a long time: memory does not grow."""
    with estate(folder) as house:
        photos = phone_photos(folder / "phone")
        load(house, photos, STEADY_RATE, max(2.0, size.steady_s / 10), 0.5)
        before_mib = house.gateways[0].resident_mib
        measured = load(house, photos, STEADY_RATE, size.steady_s, 0.5)
        after_mib = house.gateways[0].resident_mib
        growth = after_mib / before_mib
        assert growth < MOST_GROWTH, f"from {before_mib:.0f} to {after_mib:.0f} MiB"
        return (
            f"{measured['searches']['done']} searches in {size.steady_s:g} s, gateway "
            f"{before_mib:.0f} MiB before, {after_mib:.0f} MiB after; "
            f"uncached {_latency(measured, 'finished_uncached')}; "
            f"cached {_latency(measured, 'finished_cached')}"
        )


def _told(rounds: Sequence[tuple[Saturated, Saturated]], worths: Sequence[float]) -> str:
    uncached, cached = _middle([one for one, _ in rounds]), _middle([one for _, one in rounds])
    turned_away = sum(
        one.measured["searches"]["refused"] + one.measured["searches"]["failed"]
        for pair in rounds
        for one in pair
    )
    return (
        f"uncached {uncached.told('accepted_uncached')}, cached {cached.told('accepted_cached')}: "
        f"{median(worths):.1f} x ({', '.join(f'{one:.1f}' for one in worths)} by round); "
        f"{turned_away} refused or failed"
    )


def _middle(rounds: Sequence[Saturated]) -> Saturated:
    return sorted(rounds, key=lambda one: one.per_s)[len(rounds) // 2]


def saturate(
    house: Estate, photos: Path, rate: float, duration_s: float, repeat_share: float
) -> Saturated:
    before_s = house.processor_s
    measured = load(house, photos, rate, duration_s, repeat_share)
    return Saturated(measured, house.processor_s - before_s)


def _too_much(
    house: Estate, photos: Path, rate: float, repeat_share: float, duration_s: float
) -> float:
    """A rate that the house cannot keep up with; on the way there, it warms up."""
    for _ in range(MOST_DOUBLINGS):
        measured = load(house, photos, rate, duration_s, repeat_share)
        if measured["achieved_per_s"] < DONE_OF_TOO_MUCH * measured["offered_per_s"]:
            return rate
        rate *= 2
    raise AssertionError(f"{rate:g} searches per second are still not too much")


def phone_photos(folder: Path) -> Path:
    """The demo's portraits, each in a picture as large as a phone's."""
    folder.mkdir()
    for number, subject in enumerate(demo_people(10)):
        with Image.open(subject.enrolled[0]) as portrait:
            picture = (
                portrait.convert("RGB").resize(PHOTO_PX).filter(ImageFilter.GaussianBlur(BLUR_PX))
            )
            face = portrait.convert("RGB").resize(FACE_PX, Image.Resampling.LANCZOS)
        margins = [(whole - part) // 2 for whole, part in zip(PHOTO_PX, FACE_PX, strict=True)]
        picture.paste(face, (margins[0], margins[1]))
        noise = Image.effect_noise(picture.size, NOISE).convert("RGB")
        Image.blend(picture, noise, GRAIN).save(folder / f"{number}.jpg", quality=90)
    return folder


_seed = iter(range(1, 1_000_000))


def load(
    house: Estate, photos: Path, rate: float, duration_s: float, repeat_share: float
) -> dict[str, Any]:
    """Raises AssertionError where a search was lost or a 500 was seen."""
    report = house.folder / "load.json"
    done = subprocess.run(
        [
            Path(sys.executable).parent / "mobile-client-mock", "load",
            "--url", house.urls[0], "--key", house.mobile_key, "--phones", str(PHONES),
            "--rate", str(rate), "--duration", str(duration_s), "--photos", str(photos),
            "--repeat-share", str(repeat_share), "--seed", str(next(_seed)), "--json", str(report),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    measured: dict[str, Any] = json.loads(report.read_text())
    return measured


def _latency(measured: Mapping[str, Any], which: str) -> str:
    found = measured["latencies"][which]
    if found is None:
        return "none"
    return " ".join(f"{name} {1000 * found[f'{name}_s']:.0f} ms" for name in ("p50", "p95", "p99"))
