"""The one value of an EXIF block that changes the picture: read from any, written alone."""

import re
import struct

_TAG = 0x0112  # Orientation; TIFF 6.0, section 8
_NUMBERS = {3: "H", 4: "I"}  # TIFF's SHORT and LONG; a BYTE is no number to Pillow
_HEADER_BYTES, _ENTRY_BYTES = 8, 12
_TURNED = range(2, 9)
_EXIF_NAME = re.compile(rb"(Exif\0\0){0,2}")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def read_turn(exif: bytes | None, xmp: bytes | None) -> int:
    """2 to 8 as EXIF counts turns and mirrorings, 1 for an upright picture.

    XMP is asked where EXIF says nothing, for Pillow does so when the picture is looked at.
    """
    value = _orientation_of_exif(exif) if exif else None
    if value is None and xmp and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[1])
    return value if value is not None and value in _TURNED else 1


def _orientation_of_exif(exif: bytes) -> int | None:
    name = _EXIF_NAME.match(exif)
    tiff = exif[name.end() :] if name else exif
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < _HEADER_BYTES:
        return None
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    return _orientation_of_directory(tiff, directory, order)


def _orientation_of_directory(tiff: bytes, at: int, order: str) -> int | None:
    """The last of several, as Pillow takes it."""
    if at + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    whole = min(count, (len(tiff) - at - 2) // _ENTRY_BYTES)
    found = None
    for entry in range(at + 2, at + 2 + whole * _ENTRY_BYTES, _ENTRY_BYTES):
        tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag == _TAG and kind in _NUMBERS and values == 1:
            (found,) = struct.unpack_from(order + _NUMBERS[kind], tiff, entry + 8)
    return found


def write_exif(turn: int) -> bytes:
    """A TIFF of one directory with one entry, the Orientation."""
    entry = struct.pack(">HHIHH", _TAG, 3, 1, turn, 0)
    return b"MM\0*" + struct.pack(">IH", _HEADER_BYTES, 1) + entry + struct.pack(">I", 0)
