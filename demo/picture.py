"""One search in one picture: the probe, what decided, and the candidates."""

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from mobile_client_mock.answers import Candidate, Search
from mobile_client_mock.display import show_confidence, show_expectation

TILE_PX = 224
GAP_PX = 16
TEXT_PX = 15
LINES = 3
PAPER, INK, FAINT, RIGHT = "#ffffff", "#1b1f24", "#6a737d", "#1a7f37"


def draw_search(
    search: Search, probe: Path, heatmap: bytes, photos: Mapping[str, Path], right: str
) -> Image.Image:
    """`photos` by person id; `right` is the id of the person in the probe."""
    tiles = [
        _tile(_read(probe), ["probe", probe.parent.name], INK),
        _tile(Image.open(io.BytesIO(heatmap)), ["what decided", "warm: much, cold: little"], INK),
        *(_candidate(one, photos.get(one.person_id), right) for one in search.candidates[:5]),
    ]
    width = GAP_PX + sum(tile.width + GAP_PX for tile in tiles)
    sheet = Image.new("RGB", (width, tiles[0].height + 2 * GAP_PX), PAPER)
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (GAP_PX + place * (TILE_PX + GAP_PX), GAP_PX))
    return sheet


def _candidate(candidate: Candidate, photo: Path | None, right: str) -> Image.Image:
    lines = [
        f"{candidate.rank}. {candidate.name or '(deleted since)'}",
        f"similarity {candidate.similarity:.3f}, confidence {show_confidence(candidate)}",
        f"false matches expected: {show_expectation(candidate)}",
    ]
    blank = Image.new("RGB", (TILE_PX, TILE_PX), FAINT)
    colour = RIGHT if candidate.person_id == right else INK
    return _tile(_read(photo) if photo else blank, lines, colour)


def _tile(image: Image.Image, lines: list[str], colour: str) -> Image.Image:
    tile = Image.new("RGB", (TILE_PX, TILE_PX + (LINES + 1) * (TEXT_PX + 4)), PAPER)
    tile.paste(ImageOps.fit(image.convert("RGB"), (TILE_PX, TILE_PX)))
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(TEXT_PX - 2)
    for row, line in enumerate(lines):
        place = (0, TILE_PX + 8 + row * (TEXT_PX + 4))
        draw.text(place, line, fill=FAINT if row else colour, font=font)
    return tile


def _read(photo: Path) -> Image.Image:
    with Image.open(photo) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
