"""A photo loses what it says about its maker, and not one pixel."""

import functools
import io
import random
import struct
import zipfile
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from gateway_server.metadata import pieces, strip_metadata
from gateway_server.problems import UnreadableImage, UnsupportedImageType

SECRET = b"S3CRET"  # stands wherever something may be told
KINDS = ["JPEG", "PNG", "WEBP", "HEIC"]
MUTATIONS = 500  # of each kind
MANY = 50
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION, DESCRIPTION, GPS, LATITUDE, AREA = 0x0112, 0x010E, 0x8825, 2, 0x1C


def media_type(kind: str) -> str:
    return f"image/{kind.lower()}"


def strip(data: bytes, kind: str) -> bytes:
    return strip_metadata(data, media_type(kind))


def picture(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Patches of chance colours; no two corners are alike, so that every turn shows."""
    chance = np.random.default_rng(7)
    patches = chance.integers(0, 256, (size[1] // 8, size[0] // 8, 4), dtype=np.uint8)
    drawn = Image.fromarray(np.kron(patches, np.ones((8, 8, 1), np.uint8)), "RGBA")
    return drawn if mode == "RGBA" else drawn.convert("RGB").convert(mode)


def encode(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(file, quality=60, **how)
    else:
        image.save(file, kind, **how)
    return file.getvalue()


def upright(data: bytes, kind: str) -> np.ndarray:
    if kind == "HEIC":
        return np.asarray(pillow_heif.open_heif(io.BytesIO(data)))
    if kind == "JPEG":  # Image.open would judge the MPF, too
        return np.asarray(ImageOps.exif_transpose(JpegImageFile(io.BytesIO(data))))
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data), formats=[kind])))


def telling_exif(orientation: int = 1) -> bytes:
    """Where, what, and a thumbnail behind it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[DESCRIPTION] = SECRET.decode()
    exif[GPS] = {1: "N", LATITUDE: (50.0, 56.0, 17.0), AREA: SECRET}
    return exif.tobytes() + b"\xff\xd8" + SECRET + b"\xff\xd9"


def xmp(orientation: int = 1) -> bytes:
    told = f'<x:xmpmeta tiff:Orientation="{orientation}">{SECRET.decode()}</x:xmpmeta>'
    return told.encode()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr(SECRET.decode(), SECRET)
    return file.getvalue()


@functools.cache  # it holds the time of its making
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def segment(kind: int, body: bytes) -> bytes:
    return bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def webp_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + name + data


def after(data: bytes, place: bytes, more: bytes) -> bytes:
    at = data.index(place) + len(place)
    return data[:at] + more + data[at:]


def telling_jpeg(orientation: int = 1, **how) -> bytes:
    image = encode(
        picture(how.pop("mode", "RGB")),
        "JPEG",
        exif=telling_exif(orientation),
        xmp=xmp(),
        comment=SECRET,
        **how,
    )
    more = segment(0xE0, b"JFXX\0\x10" + SECRET) + segment(0xE2, b"MPF\0" + SECRET)
    more += segment(0xED, b"Photoshop 3.0\0" + SECRET) + segment(0xEB, b"JP\0\0" + SECRET)
    more += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\1" + SECRET)
    more += segment(0xEF, SECRET) + b"\0" + SECRET  # stray bytes, which decoders step over
    at = image.index(b"\xff\xdb")
    return image[:at] + more + image[at:] + archive()


def telling_png(orientation: int = 1, **how) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", SECRET.decode())
    texts.add_itxt("XML:com.adobe.xmp", xmp().decode())
    image = encode(
        picture(how.pop("mode", "RGB")),
        "PNG",
        exif=telling_exif(orientation),
        pnginfo=texts,
        **how,
    )
    more = chunk(b"zTXt", b"Copyright\0\0" + zlib.compress(SECRET, 0))
    more += chunk(b"tIME", SECRET + b"!") + chunk(b"prVt", SECRET) + chunk(b"gAMA", SECRET)
    late = chunk(b"tEXt", b"Late\0" + SECRET) + chunk(b"IDAT", SECRET)
    end = chunk(b"IEND", b"")
    return image[:33] + more + image[33 : -len(end)] + late + end + archive()


def telling_webp(orientation: int = 1, **how) -> bytes:
    image = encode(
        picture(how.pop("mode", "RGB")),
        "WEBP",
        exif=telling_exif(orientation),
        xmp=xmp(),
        **how,
    )
    return webp(image[12:], webp_chunk(b"note", SECRET)) + archive()


def telling_heic(orientation: int = 1, **how) -> bytes:
    """pillow-heif writes the orientation as a turn of the picture, as phones do."""
    heif = pillow_heif.from_pillow(picture(how.pop("mode", "RGB"), (256, 192)))
    heif.info["exif"], heif.info["xmp"] = telling_exif(orientation), xmp()
    heif.info["thumbnails"] = [64]
    file = io.BytesIO()
    heif.save(file, quality=60, **how)
    return file.getvalue() + box(b"uuid", bytes(16) + SECRET) + archive()


TELLING = dict(zip(KINDS, [telling_jpeg, telling_png, telling_webp, telling_heic], strict=True))
ENCODINGS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"restart_marker_blocks": 2}),
    ("JPEG", {"progressive": True, "restart_marker_rows": 1}),
    ("JPEG", {"mode": "L"}),
    ("JPEG", {"mode": "CMYK"}),
    ("JPEG", {"keep_rgb": True}),
    ("PNG", {}),
    ("PNG", {"mode": "RGBA"}),
    ("PNG", {"mode": "L"}),
    ("PNG", {"mode": "1"}),
    ("PNG", {"mode": "P", "transparency": 3}),
    ("PNG", {"mode": "I;16"}),
    ("WEBP", {}),
    ("WEBP", {"mode": "RGBA"}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"lossless": True, "mode": "RGBA"}),
    ("HEIC", {}),
    ("HEIC", {"mode": "RGBA"}),
]


@pytest.mark.parametrize(("kind", "how"), ENCODINGS)
def test_every_secret_goes_and_every_pixel_stays(kind, how):
    telling = TELLING[kind](**how)
    assert telling.count(SECRET) >= 4

    bare = strip(telling, kind)

    assert SECRET not in bare
    assert b"PK" not in bare[-100:]
    assert np.array_equal(upright(bare, kind), upright(telling, kind))


@pytest.mark.parametrize(("kind", "how"), ENCODINGS)
def test_stripping_twice_is_stripping_once(kind, how):
    once = strip(TELLING[kind](6, **how), kind)

    assert strip(once, kind) == once


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_turn_is_kept(kind, orientation):
    telling = TELLING[kind](orientation)

    bare = strip(telling, kind)

    assert SECRET not in bare
    assert np.array_equal(upright(bare, kind), upright(telling, kind))
    if kind != "HEIC":
        exif = Image.open(io.BytesIO(bare)).getexif()
        assert dict(exif) == ({ORIENTATION: orientation} if orientation > 1 else {})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_turn_is_read_in_both_byte_orders(kind, order):
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    tiff = head + struct.pack(f"{order}IHHHIHHI", 8, 1, ORIENTATION, 3, 1, 6, 0, 0)
    telling = encode(picture(), kind, exif=b"Exif\0\0" + tiff)

    assert np.array_equal(upright(strip(telling, kind), kind), upright(telling, kind))
    assert Image.open(io.BytesIO(strip(telling, kind))).getexif()[ORIENTATION] == 6


@pytest.mark.parametrize(
    "exif", [None, b"Exif\0\0", b"Exif\0\0MM\0*\0\0", b"MM\0*\xff\xff\xff\xff"]
)
def test_a_broken_exif_block_goes_and_the_picture_stays(exif):
    telling = after(encode(picture(), "JPEG"), b"\xff\xd8", segment(0xE1, exif or SECRET))

    assert strip(telling, "JPEG") == encode(picture(), "JPEG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turn_that_only_xmp_tells_is_kept_as_pillow_shows_it(kind):
    how = {"xmp": xmp(8)}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp(8).decode(), zip=True)
        how = {"pnginfo": texts}
    telling = encode(picture(), kind, **how)
    assert upright(telling, kind).shape[:2] == (96, 64)

    bare = strip(telling, kind)

    assert SECRET not in bare
    assert np.array_equal(upright(bare, kind), upright(telling, kind))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_png_may_tell_its_turn_in_imagemagicks_way(zipped):
    texts = PngImagePlugin.PngInfo()
    exif = telling_exif(6)
    texts.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=zipped)
    telling = encode(picture(), "PNG", pnginfo=texts)

    bare = strip(telling, "PNG")

    assert np.array_equal(upright(bare, "PNG"), upright(telling, "PNG"))
    assert b"Raw profile" not in bare


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"tEXt", b"Raw profile type exif\0\nexif\n  4\nnot hexadecimal"),
        (b"zTXt", b"Raw profile type exif\0\0not deflated"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0not deflated"),
        (b"iTXt", b"XML:com.adobe.xmp\0"),
    ],
)
def test_a_broken_text_goes_and_the_picture_stays(name, data):
    png = encode(picture(), "PNG")

    assert strip(png[:33] + chunk(name, data) + png[33:], "PNG") == png


@pytest.mark.parametrize("kind", KINDS)
def test_the_colour_profile_is_kept(kind):
    bare = strip(TELLING[kind](icc_profile=profile()), kind)

    reader = pillow_heif.open_heif if kind == "HEIC" else Image.open
    assert reader(io.BytesIO(bare)).info["icc_profile"] == profile()


def test_a_profile_in_several_segments_is_kept():
    whole = profile() * 200
    bare = strip(telling_jpeg(icc_profile=whole), "JPEG")

    assert len(whole) > 65_536
    assert Image.open(io.BytesIO(bare)).info["icc_profile"] == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_photo_keeps_every_byte(kind):
    once = strip(encode(picture(), kind), kind)

    if kind in {"JPEG", "PNG", "WEBP"}:
        assert once == encode(picture(), kind)
    else:
        assert len(once) == len(encode(picture(), kind))


def test_what_colours_a_png_is_kept():
    colours = [
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"cHRM", bytes(32)),
        chunk(b"sRGB", b"\0"),
        chunk(b"cICP", b"\1\r\0\1"),
        chunk(b"sBIT", b"\x08\x08\x08"),
        chunk(b"bKGD", bytes(6)),
    ]
    bare = strip(after(encode(picture(), "PNG"), telling_png()[8:33], b"".join(colours)), "PNG")

    assert all(colour in bare for colour in colours)


def test_jfif_stays_without_its_thumbnail_and_adobe_without_its_tail():
    jpeg = encode(picture("CMYK"), "JPEG")
    adobe = jpeg[jpeg.index(b"\xff\xee") :][:16]
    jfif = b"JFIF\0\1\1\1\0\x48\0\x48"
    telling = jpeg.replace(adobe, segment(0xEE, adobe[4:] + SECRET))
    telling = after(telling, b"\xff\xd8", segment(0xE0, jfif + b"\1\1" + SECRET))

    bare = strip(telling, "JPEG")

    assert bare.startswith(b"\xff\xd8" + segment(0xE0, jfif + b"\0\0"))
    assert adobe in bare
    assert SECRET not in bare


def test_a_jpeg_with_fill_bytes_shows_the_same():
    jpeg = encode(picture(), "JPEG", progressive=True)
    filled = jpeg.replace(b"\xff\xc4", b"\xff\xff\xff\xc4").replace(b"\xff\xda", b"\xff\xff\xda")

    bare = strip(filled, "JPEG")

    assert np.array_equal(upright(bare, "JPEG"), upright(jpeg, "JPEG"))


@pytest.mark.parametrize("frame", [0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB])
def test_every_kind_of_frame_is_kept_with_its_tables_and_scans(frame):
    """Arithmetic coding, DNL, several scans: no encoder here writes them all, so by hand."""
    header, conditioning = segment(frame, b"\x08\0\0\0\x08\1\1\x11\0"), segment(0xCC, b"\0\x10")
    scan = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x12\xff\0\xff\xd0\x34\xff\x01\xff\x55\x56"
    lines, between = segment(0xDC, b"\0\x08"), segment(0xC4, bytes(17))
    restarts = segment(0xDD, b"\0\4")
    coded = header + conditioning + restarts + scan + lines + between + scan
    comments = scan + segment(0xFE, SECRET) + b"\0" + segment(0xDC, SECRET)
    telling = b"\xff\xd8" + segment(0xFE, SECRET) + coded + comments + b"\xff\xd9"

    assert strip(telling, "JPEG") == b"\xff\xd8" + coded + scan + b"\xff\xd9"


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("left", [0.5, 0.8, 0.99])
def test_a_half_downloaded_jpeg_keeps_what_came_and_gets_an_end(how, left):
    whole = encode(picture(size=(640, 480)), "JPEG", quality=95, **how)
    half = whole[: int(len(whole) * left)]

    bare = strip(half, "JPEG")

    assert bare.endswith(b"\xff\xd9")
    assert np.array_equal(upright(bare, "JPEG"), upright(half + b"\xff\xd9", "JPEG"))
    assert strip(bare, "JPEG") == bare


def test_a_second_picture_behind_a_jpeg_that_broke_off_is_not_kept():
    whole = encode(picture(), "JPEG")

    assert strip(whole[:-200] + telling_jpeg(), "JPEG") == strip(whole[:-200], "JPEG")


def test_an_animated_png_shows_its_first_picture_alone():
    frames = [picture(), ImageOps.mirror(picture()), ImageOps.flip(picture())]
    telling = encode(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100)

    bare = strip(telling, "PNG")

    assert np.array_equal(upright(bare, "PNG"), np.asarray(frames[0]))
    assert not {b"acTL", b"fcTL", b"fdAT"} & {bare[at : at + 4] for at in range(len(bare))}


def test_a_png_that_lacks_only_its_end_gets_it():
    whole = encode(picture(), "PNG")

    assert strip(whole[:-12], "PNG") == strip(whole[:-5], "PNG") == whole


def test_every_frame_of_an_animated_webp_is_kept():
    frames = [picture("RGBA"), ImageOps.mirror(picture("RGBA")), ImageOps.flip(picture("RGBA"))]
    animation = encode(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exif=b"II*\0"
    )
    size = struct.unpack_from("<I", animation, animation.index(b"ANMF") + 4)[0]
    first = animation.index(b"ANMF") + 8
    frame = animation[first : first + size]
    telling = animation[12:].replace(
        webp_chunk(b"ANMF", frame), webp_chunk(b"ANMF", frame + webp_chunk(b"note", SECRET))
    )

    bare = strip(webp(telling), "WEBP")

    assert SECRET not in bare
    with Image.open(io.BytesIO(animation)) as before, Image.open(io.BytesIO(bare)) as now:
        assert now.n_frames == before.n_frames == 3
        for number in range(3):
            before.seek(number)
            now.seek(number)
            assert np.array_equal(np.asarray(before), np.asarray(now))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_heic_loses_its_items_and_keeps_its_offsets(mode):
    telling = telling_heic(6, mode=mode)

    bare = strip(telling, "HEIC")

    heif = pillow_heif.open_heif(io.BytesIO(bare))
    told = [entry["data"].strip(b"\0") for entry in heif.info["metadata"]]
    assert heif.info["exif"] is None
    assert "xmp" not in heif.info
    assert heif.info["thumbnails"] == []
    assert set(told) <= {b""}
    assert len(bare) == telling.index(b"uuid") - 4
    assert heif.has_alpha == (mode == "RGBA")


def test_a_heics_texts_strays_and_forgotten_bytes_become_nothing():
    """Boxes before the pixels move them; here their offsets are moved along."""
    heic = encode(picture(), "HEIC")
    top = heic.index(b"mdat") - 4
    telling = heic[:top] + heic[top:] + box(b"moov", SECRET) + box(b"mdat", SECRET)
    telling = telling.replace(b"\0\0\0\0pict" + bytes(12), b"\0\0\0\0pict" + SECRET * 2)

    bare = strip(telling, "HEIC")

    assert bare.endswith(box(b"free", bytes(6)) + box(b"mdat", bytes(6)))
    assert np.array_equal(upright(bare, "HEIC"), upright(telling, "HEIC"))


def test_a_heics_descriptions_become_free_space():
    heic = encode(picture(), "HEIC")
    pixi = heic[heic.index(b"pixi") - 4 :][:16]
    assert heic.count(pixi) == 1
    telling = heic.replace(pixi, box(b"udes", SECRET + b"!!"))

    bare = strip(telling, "HEIC")

    assert box(b"free", bytes(8)) in bare
    assert SECRET not in bare


def test_a_video_behind_a_heic_is_not_kept():
    heic = encode(picture(), "HEIC")
    video = box(b"ftyp", b"isom" + SECRET) + box(b"mdat", SECRET) + box(b"moov", SECRET)

    for tail in (video, box(b"mpvd", video), SECRET, b"\0\0\0\1", box(b"uuid", bytes(16) + SECRET)):
        assert strip(heic + tail, "HEIC") == strip(heic, "HEIC")


def located(iloc: bytes, more: bytes = b"") -> bytes:
    """A HEIC of one item of four bytes, which `iloc` places; `more` stands in its meta box."""
    infe = box(b"infe", b"\2\0\0\0\0\1\0\0hvc1" + SECRET + b"\0")
    iinf = box(b"iinf", b"\0\0\0\0\0\1" + infe)
    pitm = box(b"pitm", b"\0\0\0\0\0\1")
    idat = box(b"idat", SECRET + b"ABCD" + SECRET)
    meta = box(b"meta", b"\0\0\0\0" + pitm + iinf + box(b"iloc", iloc) + idat + more)
    return box(b"ftyp", b"heic\0\0\0\0") + meta + box(b"mdat", SECRET + b"EFGH" + SECRET)


ABCD = b"\0\0" + struct.pack(">HII", 1, 6, 4)  # data reference, and one extent of four bytes


FOUND = b"\1\0\0\0\x44\0" + b"\0\1\0\1\0\1" + ABCD


def references(*edges: tuple[bytes, int, int]) -> bytes:
    return box(
        b"iref", bytes(4) + b"".join(box(k, struct.pack(">HHH", a, 1, b)) for k, a, b in edges)
    )


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (box(b"uuid", SECRET * 4), box(b"free", bytes(24))),
        (box(b"xml ", SECRET), box(b"free", bytes(6))),
        (box(b"pitm", SECRET), box(b"free", bytes(6))),
        (box(b"iprp", box(b"note", SECRET)), box(b"iprp", box(b"free", bytes(6)))),
        (
            box(b"iprp", box(b"ipco", box(b"cmin", SECRET) + box(b"irot", b"\3")) * 2),
            box(b"ipco", box(b"free", bytes(6)) + box(b"irot", b"\3")) + box(b"free", bytes(23)),
        ),
        (
            references((b"dimg", 1, 2), (b"dimg", 2, 1)),
            references((b"dimg", 1, 2), (b"dimg", 2, 1)),
        ),
        (references((b"thmb", 1, 1)), references((b"thmb", 1, 1))),
    ],
)
def test_a_heics_meta_box_keeps_what_a_decoder_knows(more, kept):
    bare = strip(located(FOUND, more), "HEIC")

    assert kept in bare
    assert b"ABCD" in bare
    assert SECRET not in bare
    assert len(bare) == len(located(FOUND, more))


@pytest.mark.parametrize(
    "iloc",
    [
        FOUND,
        b"\1\0\0\0\x44\x40\0\1\0\1\0\1\0\0" + struct.pack(">IHII", 4, 1, 2, 4),
        b"\1\0\0\0\x44\4\0\1\0\1\0\1\0\0" + struct.pack(">HIII", 1, 9, 6, 4),
        b"\1\0\0\0\x88\0\0\1\0\1\0\1\0\0" + struct.pack(">HQQ", 1, 6, 4),
        b"\2\0\0\0\x44\0" + struct.pack(">IIH", 1, 1, 1) + ABCD,
        b"\1\0\0\0\x44\0\0\1\0\1\0\1\0\0" + struct.pack(">HIIII", 2, 8, 2, 6, 3),
    ],
)
def test_the_bytes_of_an_item_are_found_in_every_version_of_iloc(iloc):
    bare = strip(located(iloc), "HEIC")

    assert box(b"idat", bytes(6) + b"ABCD" + bytes(6)) in bare
    assert bare.endswith(box(b"mdat", bytes(16)))
    assert SECRET not in bare


def test_a_picture_of_tiles_keeps_them_and_loses_its_thumbnail_with_its_tiles():
    """As phones write them: a grid in the idat, its tiles among other items in the mdat."""
    kinds = {1: b"grid", 2: b"hvc1", 3: b"hvc1", 4: b"grid", 5: b"hvc1", 6: b"Exif", 7: b"hvc1"}
    infes = [
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH", n, 0) + k + b"\0") for n, k in kinds.items()
    ]
    edges = references((b"dimg", 1, 2), (b"dimg", 1, 3), (b"thmb", 4, 1), (b"dimg", 4, 5))
    ftyp = box(b"ftyp", b"heic\0\0\0\0")

    def whole(first: int) -> bytes:
        places = [(1, 1, 0), (2, 0, first), (3, 0, first + 4), (4, 1, 4)]
        places += [(5, 0, first + 8), (6, 0, first + 12), (7, 0, first + 16)]
        iloc = b"\1\0\0\0\x44\0" + struct.pack(">H", len(places))
        for number, method, offset in places:
            iloc += struct.pack(">HHHHII", number, method, 0, 1, offset, 4)
        parts = box(b"pitm", b"\0\0\0\0\0\1") + box(b"iloc", iloc) + edges
        parts += box(b"iinf", b"\0\0\0\0\0\7" + b"".join(infes)) + box(b"idat", b"GRIDgrid")
        return ftyp + box(b"meta", bytes(4) + parts) + box(b"mdat", b"TWO.TRI.tileexifMORE")

    telling = whole(whole(0).index(b"TWO."))

    bare = strip(telling, "HEIC")

    assert bare.endswith(box(b"mdat", b"TWO.TRI." + bytes(8) + b"MORE"))
    assert box(b"idat", b"GRID" + bytes(4)) in bare
    assert [bare.count(kind) for kind in (b"grid", b"hvc1", b"Exif", b"free")] == [1, 3, 0, 3]


def test_an_item_that_is_given_no_length_reaches_to_the_end():
    iloc = b"\1\0\0\0\x40\0\0\1\0\1\0\1\0\0" + struct.pack(">HI", 1, 6)

    assert box(b"idat", bytes(6) + b"ABCD" + SECRET) in strip(located(iloc), "HEIC")


FRAME, SCAN = segment(0xC0, b"\x08\0\x08\0\x08\1\1\x11\0"), segment(0xDA, b"\1\1\0\0\x3f\0")
HEADER = PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
END = chunk(b"IEND", b"")
CANVAS = webp_chunk(b"VP8X", bytes(10))
ANIMATED = webp_chunk(b"VP8X", b"\2" + bytes(9))
MISPLACED = b"\1\0\0\0\x44\0\0\1\0\1\0\1\0\0" + struct.pack(">HII", 1, 6, 400)
BY_ITEM = b"\1\0\0\0\x44\0\0\1\0\1\0\2\0\0" + struct.pack(">HII", 1, 6, 4)
ODD_SIZES = b"\1\0\0\0\x33\0\0\0"
CUT_ILOC = b"\1\0\0\0\x44\0\0\1\0\1"


@pytest.mark.parametrize(
    ("kind", "data", "rule"),
    [
        ("JPEG", b"", "begins with ff d8"),
        ("JPEG", encode(picture(), "PNG"), "begins with ff d8"),
        ("JPEG", b"\xff\xd8\xff", "before its first scan"),
        ("JPEG", encode(picture(), "JPEG")[:300], "before its first scan"),
        ("JPEG", b"\xff\xd8\xff\xe1\xff\xff" + FRAME + SCAN, "before its first scan"),
        ("JPEG", b"\xff\xd8" + FRAME + b"\xff\xd9" + SCAN, "before its first scan"),
        ("JPEG", b"\xff\xd8" + FRAME + b"\xff\xd8" + SCAN, "before its first scan"),
        ("JPEG", b"\xff\xd8" + SCAN + FRAME, "no frame header"),
        ("PNG", b"", "signature"),
        ("PNG", PNG_SIGNATURE, "says 0 bytes where 0 are left"),
        ("PNG", PNG_SIGNATURE + END, "first chunk is an IHDR"),
        ("PNG", PNG_SIGNATURE + chunk(b"IHDR", SECRET) + END, "first chunk is an IHDR"),
        ("PNG", HEADER + END, "before its pixels"),
        ("PNG", HEADER + b"\xff\xff\xff\xffIDAT" + bytes(100), "4294967295 bytes where 96"),
        ("PNG", HEADER + b"\0\0\1\0tEXt" + bytes(100), "256 bytes where 96"),
        ("PNG", encode(picture(), "PNG")[:100], "are left"),
        ("WEBP", b"", "begins with RIFF"),
        ("WEBP", b"RIFF\xff\xff\xff\xffWEBP", "4294967295 bytes where 4"),
        ("WEBP", encode(picture(), "WEBP")[:-10], "are left"),
        ("WEBP", webp(), "first chunk"),
        ("WEBP", webp(webp_chunk(b"note", SECRET)), "first chunk"),
        ("WEBP", webp(b"VP8 \xff\0\0\0"), "255 bytes where 0"),
        ("WEBP", webp(webp_chunk(b"VP8X", bytes(9))), "10 bytes, not 9"),
        ("WEBP", webp(CANVAS), "no picture"),
        ("WEBP", webp(CANVAS, webp_chunk(b"ANMF", bytes(16))), "no picture"),
        ("WEBP", webp(ANIMATED, webp_chunk(b"VP8 ", bytes(16))), "no frame"),
        ("WEBP", webp(ANIMATED, webp_chunk(b"ANMF", bytes(16))), "no picture"),
        ("HEIC", b"", "begins with its ftyp"),
        ("HEIC", box(b"meta", b""), "begins with its ftyp"),
        ("HEIC", box(b"ftyp", b"heic"), "no whole meta"),
        ("HEIC", box(b"ftyp", b"heic") + box(b"meta", b"")[:-1], "no whole meta"),
        ("HEIC", box(b"ftyp", b"heic") + box(b"meta", bytes(4)), "no iinf"),
        ("HEIC", box(b"ftyp", b"heic") + box(b"meta", bytes(5)), "meta box is not filled"),
        ("HEIC", encode(picture(), "HEIC")[:-100], "item ends at byte"),
        ("HEIC", located(MISPLACED), "item ends at byte"),
        ("HEIC", located(BY_ITEM), "by method 2"),
        ("HEIC", located(ODD_SIZES), "0, 4 or 8 bytes"),
        ("HEIC", located(CUT_ILOC), "in the middle of a field"),
        ("HEIC", located(MISPLACED).replace(b"hvc1", b"mime"), "primary item 1 is no image"),
    ],
)
def test_what_cannot_be_followed_to_its_pixels_is_refused(kind, data, rule):
    with pytest.raises(UnreadableImage, match=rule):
        strip(data, kind)


ENDLESS_ILOC = b"\2\0\0\0\0\0" + b"\xff" * 4 + bytes(10) * MANY
ENDLESS_EXTENTS = b"\0\0\0\0\0\0\0\1" + b"\0\1\0\0" + struct.pack(">H", MANY)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("JPEG", b"\xff\xd8" + segment(0xE5, b"") * MANY),
        ("PNG", HEADER + chunk(b"tEXt", b"") * MANY),
        ("WEBP", webp(CANVAS, webp_chunk(b"note", b"") * MANY)),
        ("HEIC", located(FOUND, box(b"iprp", box(b"ipco", box(b"ispe", b"") * MANY)))),
        ("HEIC", box(b"ftyp", b"heic") + box(b"free", b"") * MANY),
        ("HEIC", located(ENDLESS_ILOC)),
        ("HEIC", located(ENDLESS_EXTENTS)),
    ],
)
def test_a_photo_of_too_many_pieces_is_refused(monkeypatch, kind, data):
    monkeypatch.setattr(pieces, "MAX_PIECES", MANY - 1)

    with pytest.raises(UnreadableImage, match=f"{MANY - 1} pieces"):
        strip(data, kind)


def test_another_type_is_refused():
    with pytest.raises(UnsupportedImageType, match="image/gif"):
        strip_metadata(b"GIF89a", "image/gif")


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """Some bits turned, a length made absurd, bytes doubled or left out, an end cut off."""
    data = bytearray(whole)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data))
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + 2] = chance.choice([b"\0\0", b"\xff\xff", b"\0\1", b"\x7f\xff"])
            case 2:
                data[at : at + 4] = chance.choice([b"\0\0\0\0", b"\xff" * 4, b"\0\0\0\1"])
            case 3:
                del data[at : at + chance.randrange(1, 40)]
            case 4:
                data[at:at] = data[chance.randrange(len(data)) :][: chance.randrange(1, 40)]
            case 5 if at > 64:
                del data[at:]
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_with_anything_wrong_is_stripped_for_good_or_refused(kind):
    """Fuzzing with a fixed seed: most of a file is pixels, so its head is aimed at more often."""
    chance = random.Random(41)
    whole = TELLING[kind](6)
    stripped = 0
    for number in range(MUTATIONS):
        head = chance.randrange(20, 1500) if number % 2 else len(whole)
        damaged = mutated(whole[:head], chance) + whole[head:]
        try:
            bare = strip(damaged, kind)
        except UnreadableImage:
            continue
        stripped += 1
        assert len(bare) <= len(damaged) + 100
        assert strip(bare, kind) == bare
    assert 0 < stripped < MUTATIONS
