"""`python -m tools.phone_icons`: the phone page's icons, one drawing as SVG and as PNGs.

Two circles that meet within a viewfinder; everything lies in the middle 80 %, so that a phone may
cut the icon to any shape (maskable).
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

STATIC = Path(__file__).resolve().parent.parent / "gateway-server/gateway_server/phone/static"
SIDES_PX = (192, 512)
UNITS = 100
GROUND, LINE, LEFT, RIGHT, BOTH = "#0f5257", "#f6f4ef", "#7fc8bf", "#f2b66d", "#fdf6e8"
CENTRES, RADIUS = ((41, 50), (59, 50)), 17
NEAR, FAR, ARM, WIDTH = 21, 79, 12, 4
OVERSAMPLING = 4


def main() -> None:
    (STATIC / "icon.svg").write_text(as_svg(), encoding="utf-8")
    for side in SIDES_PX:
        as_image(side).save(STATIC / f"icon-{side}.png", optimize=True)


def corners() -> Iterator[tuple[tuple[int, int], ...]]:
    for x, inwards_x in ((NEAR, 1), (FAR, -1)):
        for y, inwards_y in ((NEAR, 1), (FAR, -1)):
            yield (x + inwards_x * ARM, y), (x, y), (x, y + inwards_y * ARM)


def as_svg() -> str:
    lines = "".join("M" + "L".join(f"{x} {y}" for x, y in points) for points in corners())
    (ax, ay), (bx, by) = CENTRES
    circle = f'r="{RADIUS}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {UNITS} {UNITS}">'
        f'<rect width="{UNITS}" height="{UNITS}" rx="22" fill="{GROUND}"/>'
        f'<path d="{lines}" fill="none" stroke="{LINE}" stroke-width="{WIDTH}" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
        f'<clipPath id="a"><circle cx="{ax}" cy="{ay}" {circle}/></clipPath>'
        f'<circle cx="{ax}" cy="{ay}" {circle} fill="{LEFT}"/>'
        f'<circle cx="{bx}" cy="{by}" {circle} fill="{RIGHT}"/>'
        f'<circle cx="{bx}" cy="{by}" {circle} fill="{BOTH}" clip-path="url(#a)"/></svg>\n'
    )


def as_image(side_px: int) -> Image.Image:
    drawn_px = side_px * OVERSAMPLING
    scale = drawn_px / UNITS
    image = Image.new("RGB", (drawn_px, drawn_px), GROUND)
    pen = ImageDraw.Draw(image)
    for points in corners():
        scaled = [(x * scale, y * scale) for x, y in points]
        pen.line(scaled, LINE, round(WIDTH * scale), joint="curve")
        for x, y in scaled:
            pen.circle((x, y), WIDTH * scale / 2, LINE)
    masks = [_circle(drawn_px, centre) for centre in CENTRES]
    for mask, colour in zip(masks, (LEFT, RIGHT), strict=True):
        image.paste(colour, mask=mask)
    image.paste(BOTH, mask=ImageChops.multiply(*masks))
    return image.resize((side_px, side_px), Image.Resampling.LANCZOS).quantize(64)


def _circle(side_px: int, centre: tuple[int, int]) -> Image.Image:
    scale = side_px / UNITS
    mask = Image.new("L", (side_px, side_px))
    middle = (centre[0] * scale, centre[1] * scale)
    ImageDraw.Draw(mask).circle(middle, RADIUS * scale, 255)
    return mask


if __name__ == "__main__":
    main()
