import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from mobile_client_mock.errors import UnusablePhoto
from mobile_client_mock.photo import LONGEST_SIDE_PX, Upload, read_original, remake, shrink

ORIENTATION, MAKE, GPS = 0x0112, 0x010F, 0x8825
TURN_LEFT_TO_SHOW = 6  # EXIF: the camera was held on its side


def opened(upload: Upload) -> Image.Image:
    return Image.open(io.BytesIO(upload.data))


def photo_with_exif(file: Path) -> Path:
    """Left half red, right half blue, on its side."""
    image = Image.new("RGB", (400, 200), "red")
    image.paste("blue", (200, 0, 400, 200))
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_LEFT_TO_SHOW
    exif[MAKE] = "Somebody's phone"
    exif.get_ifd(GPS)[1] = "N"
    image.save(file, exif=exif, comment=b"taken at home")
    return file


def test_a_big_photo_is_shrunk_to_the_longest_side(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3000), "teal").save(tmp_path / "big.jpg")
    upload = shrink(tmp_path / "big.jpg")
    assert opened(upload).size == (LONGEST_SIDE_PX, 960)
    assert upload.media_type == "image/jpeg"
    assert opened(upload).format == "JPEG"


def test_a_small_photo_keeps_its_size(photo: Path) -> None:
    assert opened(shrink(photo)).size == (64, 48)


def test_a_photo_on_its_side_is_sent_upright(tmp_path: Path) -> None:
    upright = opened(shrink(photo_with_exif(tmp_path / "side.jpg")))
    assert upright.size == (200, 400)
    top, bottom = upright.getpixel((100, 50)), upright.getpixel((100, 350))
    assert top[0] > top[2] + 150, "the red half is above"
    assert bottom[2] > bottom[0] + 150, "the blue half is below"


def test_place_camera_comment_and_file_name_stay_on_the_phone(tmp_path: Path) -> None:
    file = photo_with_exif(tmp_path / "Grandma at home.jpg")
    upload = shrink(file)
    sent = opened(upload)
    assert dict(sent.getexif()) == {}
    assert b"Exif" not in upload.data
    assert "comment" not in sent.info
    assert upload.name == "photo.jpg"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    Image.new(mode, (30, 20)).save(file)
    assert opened(shrink(file)).mode == "RGB"


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (30, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert opened(shrink(tmp_path / "clear.png")).getpixel((15, 10)) == (255, 255, 255)


def test_an_original_is_sent_byte_by_byte(tmp_path: Path) -> None:
    file = photo_with_exif(tmp_path / "secret name.jpg")
    upload = read_original(file)
    assert upload.data == file.read_bytes()
    assert "secret" not in upload.name


def test_a_photo_made_anew_differs_for_every_token_and_only_at_its_upper_edge(photo: Path) -> None:
    taken = shrink(photo)
    made = {remake(taken, number.to_bytes(8, "big")).data for number in range(256)}
    assert len(made) == 256
    assert remake(taken, b"\x07").data == remake(taken, b"\x07").data
    before, after = (opened(one).crop((0, 16, 64, 48)) for one in (taken, remake(taken, b"\xff")))
    differences = ImageChops.difference(before, after).getextrema()
    assert max(most for _least, most in differences) <= 2, "a JPEG's own rounding"


REFUSALS = {
    "a text": b"not a photo",
    "an empty file": b"",
    "a cut JPEG": None,
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_photo_is_not_sent(tmp_path: Path, photo: Path, case: str) -> None:
    file = tmp_path / "broken.jpg"
    data = REFUSALS[case]
    file.write_bytes(photo.read_bytes()[:300] if data is None else data)
    with pytest.raises(UnusablePhoto, match=r"broken\.jpg"):
        shrink(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusablePhoto, match=r"nowhere\.jpg cannot be read: No such file"):
        read_original(tmp_path / "nowhere.jpg")
