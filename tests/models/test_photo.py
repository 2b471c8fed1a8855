import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from face_models import errors
from face_models.photo import MAX_JPEG_SCANS, PhotoLimits, read_photo, sniff_type
from tests.models.pictures import (
    bomb_png,
    bomb_webp,
    encoded,
    many_scans,
    marked,
    shaded,
    shown_quarters,
    turned,
)

UPRIGHT = ["red", "green", "blue", "white"]
JPEG = encoded(marked(), "JPEG", quality=95)
PROGRESSIVE = encoded(shaded(320, 240), "JPEG", progressive=True)
SMALL = PhotoLimits(target_side_px=100)

TYPES = {
    "image/jpeg": encoded(marked(), "JPEG"),
    "image/png": encoded(marked(), "PNG"),
    "image/webp": encoded(marked(), "WEBP"),
}
OTHER_FILES = {
    "GIF": encoded(marked(), "GIF"),
    "BMP": encoded(marked(), "BMP"),
    "TIFF": encoded(marked(), "TIFF"),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "HTML": b"<!doctype html><title>photo.jpg</title>",
    "text": b"a photo, honestly",
    "PDF": b"%PDF-1.7\n",
    "AVIF": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00mif1avifmiaf",
    "one byte": b"\xff",
    "JPEG behind a byte": b" " + JPEG,
}


@pytest.mark.parametrize("media_type", TYPES)
def test_the_type_is_told_by_content(media_type):
    assert sniff_type(TYPES[media_type]) == media_type


@pytest.mark.parametrize("media_type", TYPES)
def test_every_accepted_type_gives_upright_rgb(media_type):
    photo = read_photo(TYPES[media_type])
    assert (photo.width, photo.height, photo.scale) == (64, 48, 1.0)
    assert photo.rgb.shape == (48, 64, 3)
    assert photo.rgb.dtype == np.uint8
    assert shown_quarters(photo.rgb) == UPRIGHT


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_content_is_an_unsupported_type(name):
    with pytest.raises(errors.UnsupportedType):
        read_photo(OTHER_FILES[name])


REFUSED = {
    "no bytes": (b"", errors.EmptyPhoto),
    "one byte too many": (JPEG + bytes(1024 - len(JPEG) % 1024), errors.TooManyBytes),
    "JPEG cut in its header": (JPEG[:100], errors.UnreadableImage),
    "JPEG cut in the middle": (JPEG[: len(JPEG) // 2], errors.UnreadableImage),
    "progressive JPEG cut": (PROGRESSIVE[: len(PROGRESSIVE) // 2], errors.UnreadableImage),
    "JPEG signature alone": (b"\xff\xd8\xff", errors.UnreadableImage),
    "PNG cut": (TYPES["image/png"][:-40], errors.UnreadableImage),
    "PNG signature alone": (b"\x89PNG\r\n\x1a\n", errors.UnreadableImage),
    "WebP cut": (TYPES["image/webp"][:-40], errors.UnreadableImage),
    "WebP header alone": (b"RIFF\x10\0\0\0WEBP", errors.UnreadableImage),
    "WebP of unknown chunk": (b"RIFF\x10\0\0\0WEBPVP9 " + bytes(30), errors.UnreadableImage),
    "bomb PNG": (bomb_png(60_000, 60_000), errors.TooManyPixels),
    "bomb WebP": (bomb_webp(16_383, 16_383), errors.TooManyPixels),
    "JPEG of too many pixels": (encoded(shaded(1001, 1000), "JPEG"), errors.TooManyPixels),
    "PNG without pixels": (bomb_png(10, 10), errors.UnreadableImage),
    "JPEG of a thousand scans": (many_scans(PROGRESSIVE, 1000), errors.UnreadableImage),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_photo_is_refused_by_its_own_name(name):
    data, refusal = REFUSED[name]
    max_bytes = len(data) - 1 if refusal is errors.TooManyBytes else 10_000_000
    with pytest.raises(refusal) as refused:
        read_photo(data, PhotoLimits(max_bytes=max_bytes, max_pixels=1_000_000))
    assert type(refused.value) is refusal


def test_the_limits_themselves_are_allowed():
    data = encoded(marked(100, 50), "PNG")
    photo = read_photo(data, PhotoLimits(max_bytes=len(data), max_pixels=5000))
    assert photo.rgb.shape == (50, 100, 3)


@pytest.mark.parametrize("data", [bomb_png(60_000, 60_000), bomb_webp(16_383, 16_383)])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(data, monkeypatch):
    def decoded(*_):
        pytest.fail("a decoder was started")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile._open", decoded)
    with pytest.raises(errors.TooManyPixels):
        read_photo(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_every_exif_turn_is_undone(orientation, file_format):
    undoing = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # orientation -> the transpose that makes it
    picture = marked()
    if orientation in undoing:
        picture = picture.transpose(Image.Transpose(undoing[orientation]))
    photo = read_photo(encoded(picture, file_format, exif=turned(orientation)))
    assert (photo.width, photo.height) == (64, 48)
    assert shown_quarters(photo.rgb) == UPRIGHT


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_without_meaning_turns_nothing(orientation):
    photo = read_photo(encoded(marked(), "PNG", exif=turned(orientation)))
    assert shown_quarters(photo.rgb) == UPRIGHT


def test_damaged_exif_does_not_cost_the_photo():
    photo = read_photo(encoded(marked(), "PNG", exif=b"Exif\0\0garbage that is no TIFF"))
    assert shown_quarters(photo.rgb) == UPRIGHT


MODES = {
    "grey": ("L", "JPEG", {}),
    "CMYK": ("CMYK", "JPEG", {}),
    "black and white": ("1", "PNG", {}),
    "palette": ("P", "PNG", {}),
    "16-bit grey": ("I;16", "PNG", {}),
    "grey with alpha": ("LA", "PNG", {}),
    "RGB with alpha": ("RGBA", "WEBP", {"lossless": True}),
    "palette with transparency": ("P", "PNG", {"transparency": 0}),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_the_same_grey_wedge(name):
    mode, file_format, options = MODES[name]
    wedge = Image.fromarray(np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1)))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(wedge).astype(np.uint16) * 257)
    elif mode == "1":
        picture = wedge.convert("1", dither=Image.Dither.NONE)
    else:
        picture = wedge.convert(mode)
    photo = read_photo(encoded(picture, file_format, **options))
    assert photo.rgb.shape == (48, 64, 3)
    dark, bright = photo.rgb[24, 8].astype(int), photo.rgb[24, 60].astype(int)
    assert np.ptp(dark) <= 6
    assert dark.max() < 60
    assert bright.min() > 200


def test_transparency_shows_white():
    glass = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    glass.paste((255, 0, 0, 255), (0, 0, 16, 32))
    rgb = read_photo(encoded(glass, "PNG")).rgb
    assert rgb[16, 8].tolist() == [255, 0, 0]
    assert rgb[16, 24].tolist() == [255, 255, 255]


def test_half_transparency_is_half_white():
    rgb = read_photo(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG")).rgb
    assert rgb[4, 4].tolist() == [127, 127, 127]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
def test_reduction_averages_colours_in_every_mode(mode):
    wedge = Image.fromarray(np.tile(np.linspace(0, 255, 300).astype(np.uint8), (200, 1)))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(wedge).astype(np.uint16) * 257)
    else:
        picture = wedge.convert(mode)
    photo = read_photo(encoded(picture, "PNG"), SMALL)
    assert photo.rgb.shape == (67, 100, 3)
    columns = photo.rgb[:66].mean(axis=(0, 2))
    np.testing.assert_allclose(columns, np.linspace(1, 254, 100), atol=16)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(file_format):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=50)
    red, _, blue = read_photo(data).rgb[16, 16]
    assert red > 200
    assert blue < 60


def test_a_phone_photo_is_never_decoded_fully(monkeypatch):
    decoded_sizes = []
    load = JpegImageFile.load

    def recorded(image):
        pixels = load(image)
        decoded_sizes.append(image.im.size)
        return pixels

    data = encoded(Image.new("RGB", (4000, 3000)), "JPEG")
    monkeypatch.setattr(JpegImageFile, "load", recorded)
    photo = read_photo(data)
    assert set(decoded_sizes) == {(2000, 1500)}
    assert photo.rgb.shape == (1500, 2000, 3)
    assert (photo.width, photo.height, photo.scale) == (4000, 3000, 0.5)


REDUCED = {  # file format, full size -> decoded size, scale; target side 100
    ("JPEG", 199, 150): (199, 150, 1.0),
    ("JPEG", 200, 150): (100, 75, 0.5),
    ("JPEG", 399, 301): (200, 151, 0.5),
    ("JPEG", 800, 600): (100, 75, 0.125),
    ("JPEG", 1600, 1200): (100, 75, 0.0625),  # an eighth by libjpeg, a half afterwards
    ("JPEG", 900, 6): (113, 1, 0.125),
    ("PNG", 300, 200): (100, 67, 1 / 3),
    ("PNG", 150, 330): (50, 110, 1 / 3),
    ("WEBP", 320, 200): (107, 67, 1 / 3),
}


@pytest.mark.parametrize(("file_format", "width", "height"), REDUCED)
def test_a_large_photo_is_reduced_to_the_target_and_not_below(file_format, width, height):
    expected_width, expected_height, scale = REDUCED[file_format, width, height]
    photo = read_photo(encoded(shaded(width, height), file_format), SMALL)
    assert photo.rgb.shape == (expected_height, expected_width, 3)
    assert (photo.width, photo.height) == (width, height)
    assert photo.scale == pytest.approx(scale)
    assert max(photo.rgb.shape) >= SMALL.target_side_px


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_reduced_pixels_lie_where_the_scale_says(file_format):
    photo = read_photo(encoded(shaded(640, 480), file_format, quality=95), SMALL)
    column, row = photo.rgb.shape[1] // 2, photo.rgb.shape[0] // 4
    red, green, _ = photo.rgb[row, column].astype(int)
    assert red == pytest.approx(255 * (column + 0.5) / photo.scale / 640, abs=4)
    assert green == pytest.approx(255 * (row + 0.5) / photo.scale / 480, abs=4)


def test_a_sideways_phone_photo_is_reduced_and_turned():
    sideways = marked(400, 300).transpose(Image.Transpose.ROTATE_90)
    photo = read_photo(encoded(sideways, "JPEG", exif=turned(6)), SMALL)
    assert (photo.width, photo.height, photo.scale) == (400, 300, 0.25)
    assert photo.rgb.shape == (75, 100, 3)
    assert shown_quarters(photo.rgb) == UPRIGHT


def test_scans_behind_a_marker_without_length_are_counted():
    end = JPEG.rindex(b"\xff\xd9")
    hidden = b"\xff\x01" + b"\xff\xda\0\x02" * (MAX_JPEG_SCANS + 1)
    with pytest.raises(errors.UnreadableImage, match="scans"):
        read_photo(JPEG[:end] + hidden + JPEG[end:])


def test_what_follows_the_end_of_a_jpeg_is_no_scan():
    clip = b"\xff\xda\0\x08" * (MAX_JPEG_SCANS + 1)  # a phone's moving picture behind the still one
    assert shown_quarters(read_photo(JPEG + clip).rgb) == UPRIGHT


def test_an_ordinary_progressive_jpeg_is_read():
    assert read_photo(PROGRESSIVE).rgb.shape == (240, 320, 3)


def test_threads_read_photos_side_by_side():
    pictures = [encoded(shaded(300 + n, 200), "JPEG") for n in range(8)]
    alone = [read_photo(data, SMALL).rgb for data in pictures]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda data: read_photo(data, SMALL).rgb, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_reading_leaves_pillow_as_it_was():
    before = Image.MAX_IMAGE_PIXELS
    read_photo(JPEG)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.filterwarnings("ignore:(Possibly corrupt|Corrupt) EXIF")
@pytest.mark.parametrize("media_type", TYPES)
def test_random_damage_is_read_or_refused_but_never_another_error(media_type):
    random = np.random.default_rng(seed=20)
    for _ in range(200):
        damaged = bytearray(TYPES[media_type])
        for position in random.integers(0, len(damaged), size=random.integers(1, 6)):
            damaged[position] = random.integers(256)
        try:
            photo = read_photo(bytes(damaged[: random.integers(1, 2 * len(damaged))]), SMALL)
        except errors.PhotoError:
            continue
        assert photo.rgb.shape[2] == 3


@pytest.fixture(scope="module")
def heic():
    pillow_heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")

    def encode(picture):
        file = BytesIO()
        pillow_heif.from_pillow(picture).save(file, quality=95)
        return file.getvalue()

    return encode


def test_a_heic_photo_is_read(heic):
    data = heic(marked(128, 96))
    assert sniff_type(data) == "image/heic"
    photo = read_photo(data)
    assert (photo.width, photo.height) == (128, 96)
    assert shown_quarters(photo.rgb) == UPRIGHT


def test_the_size_of_a_heic_photo_is_checked(heic):
    with pytest.raises(errors.TooManyPixels):
        read_photo(heic(marked(128, 96)), PhotoLimits(max_pixels=1000))


def test_a_cut_heic_photo_is_unreadable(heic):
    data = heic(shaded(128, 96))
    with pytest.raises(errors.UnreadableImage):
        read_photo(data[: len(data) // 2])


def test_heic_is_an_unsupported_type_where_its_reader_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(errors.UnsupportedType, match="installation"):
        read_photo(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64))
