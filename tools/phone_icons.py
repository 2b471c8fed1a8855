"""`python -m tools.phone_icons`: the phone page's icons, one drawing as SVG and as PNGs.

The console's mark, two rings that meet; all of it lies within the middle 80 %, so that a phone may
cut the icon to any shape (maskable).
"""

import math
from pathlib import Path

from PIL import Image, ImageDraw

STATIC = Path(__file__).resolve().parent.parent / "gateway-server/gateway_server/phone/static"
SIDES_PX = (192, 512)
UNITS = 100
GROUND, LINE = "#0f5f73", "#ffffff"
RADIUS, WIDTH = 16.0, 6.0
CLOSED, OPEN = (39.0, 50.0), (62.0, 50.0)
OPENING_DEG = 65.0  # to both sides of where the second ring meets the first
OVERSAMPLING = 4


def main() -> None:
    (STATIC / "icon.svg").write_text(as_svg(), encoding="utf-8")
    for side in SIDES_PX:
        as_image(side).save(STATIC / f"icon-{side}.png", optimize=True)


def ends() -> tuple[tuple[float, float], ...]:
    """Of the open ring, the upper one first."""
    across = OPEN[0] - RADIUS * math.cos(math.radians(OPENING_DEG))
    up = RADIUS * math.sin(math.radians(OPENING_DEG))
    return (across, OPEN[1] - up), (across, OPEN[1] + up)


def as_svg() -> str:
    (x, top), (_, bottom) = ends()
    arc = f"M{x:.1f} {top:.1f}A{RADIUS:g} {RADIUS:g} 0 1 1 {x:.1f} {bottom:.1f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {UNITS} {UNITS}">'
        f'<rect width="{UNITS}" height="{UNITS}" rx="24" fill="{GROUND}"/>'
        f'<g fill="none" stroke="{LINE}" stroke-width="{WIDTH:g}" stroke-linecap="round">'
        f'<circle cx="{CLOSED[0]:g}" cy="{CLOSED[1]:g}" r="{RADIUS:g}"/>'
        f'<path d="{arc}"/></g></svg>\n'
    )


def as_image(side_px: int) -> Image.Image:
    scale = side_px * OVERSAMPLING / UNITS
    image = Image.new("RGB", (side_px * OVERSAMPLING,) * 2, GROUND)
    pen = ImageDraw.Draw(image)
    for (x, y), start, end in ((CLOSED, 0.0, 360.0), (OPEN, 180 + OPENING_DEG, 540 - OPENING_DEG)):
        outer = (RADIUS + WIDTH / 2) * scale
        middle = (x * scale, y * scale)
        box = (middle[0] - outer, middle[1] - outer, middle[0] + outer, middle[1] + outer)
        pen.arc(box, start, end, LINE, round(WIDTH * scale))
    for x, y in ends():
        pen.circle((x * scale, y * scale), WIDTH * scale / 2, LINE)
    return image.resize((side_px, side_px), Image.Resampling.LANCZOS).quantize(32)


if __name__ == "__main__":
    main()
