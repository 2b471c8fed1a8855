"""HEIC (ISO/IEC 14496-12 and 23008-12): what goes is overwritten in its place, for offsets hold.

Kept are the bytes of the image items, the properties that a decoder needs and the turn, which is a
property here (irot, imir) and no business of EXIF's. Every other item loses its type, its name and
its bytes; every other box becomes `free` space; every other byte between them becomes zero.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway_server.metadata.heic_boxes import (
    FULL_BOX_BYTES,
    Box,
    Fields,
    read_boxes,
    read_children,
)
from gateway_server.metadata.pieces import counted
from gateway_server.problems import UnreadableImage

_FREE = b"free"
_IMAGES = frozenset(
    {b"hvc1", b"lhv1", b"hvt1", b"av01", b"avc1", b"vvc1", b"jpeg", b"j2k1", b"unci", b"mski"}
    | {b"grid", b"iden", b"iovl", b"tmap"}
)
_IN_META = frozenset(
    {b"hdlr", b"dinf", b"pitm", b"iinf", b"iref", b"iprp", b"iloc", b"idat", b"grpl"}
)
_PROPERTIES = frozenset(
    {b"ispe", b"pixi", b"colr", b"pasp", b"clap", b"irot", b"imir", b"rloc", b"iscl", b"lsel"}
    | {b"hvcC", b"lhvC", b"av1C", b"avcC", b"vvcC", b"jpgC", b"j2kH", b"uncC", b"cmpd", b"a1op"}
    | {b"auxC", b"a1lx", b"oinf", b"tols", b"clli", b"mdcv", b"cclv", b"amve", b"ndwt", b"mskC"}
)
_HANDLER_BYTES = 24  # of an hdlr, before its name
_IN_FILE, _IN_IDAT = 0, 1  # construction methods of an item
_FIELD_SIZES = frozenset({0, 4, 8})


@dataclass(frozen=True, slots=True)
class _Item:
    """One `infe`: the type's bytes stand before `name`, where the box's texts begin."""

    number: int
    kind: bytes
    name: int
    end: int


def strip_heic(data: bytes) -> bytes:
    boxes, meta = _read_file(data)
    end = boxes[-1].end
    parts, strays = _read_meta(data, meta)
    items = list(_items(data, _demand(parts, b"iinf")))
    wanted = _wanted(data, parts, items)
    pixels = _merge(_extents(data, parts, wanted, end))

    bare = bytearray(data[:end])
    for box in boxes:
        if box.kind == b"mdat":
            _wipe(bare, box.body, box.end)
        elif box is not meta and box.kind != b"ftyp":
            _free(bare, box)
    if b"idat" in parts:
        _wipe(bare, parts[b"idat"].body, parts[b"idat"].end)
    for start, stop in pixels:
        bare[start:stop] = data[start:stop]
    for box in (*strays, *_needless_properties(data, parts)):
        _free(bare, box)
    _wipe_texts(bare, parts, items, wanted)
    return bytes(bare)


def _read_file(data: bytes) -> tuple[list[Box], Box]:
    """The boxes of this file up to the last one that its picture needs, and its `meta`.

    A second `ftyp` begins another file behind it, a motion photo's video.
    """
    boxes: list[Box] = []
    for box in counted(read_boxes(data, 0, len(data))):
        if box.kind == b"ftyp" and boxes:
            break
        boxes.append(box)
    if not boxes or boxes[0].kind != b"ftyp":
        raise UnreadableImage("A HEIC begins with its ftyp box")
    meta = next((box for box in boxes if box.kind == b"meta"), None)
    if meta is None:
        raise UnreadableImage("The HEIC has no whole meta box")
    while boxes[-1] is not meta and boxes[-1].kind != b"mdat":
        boxes.pop()
    return boxes, meta


def _read_meta(data: bytes, meta: Box) -> tuple[dict[bytes, Box], list[Box]]:
    """The first box of every known kind, and all others."""
    parts: dict[bytes, Box] = {}
    strays = []
    for box in read_children(data, meta, meta.body + FULL_BOX_BYTES):
        if box.kind in _IN_META and box.kind not in parts:
            parts[box.kind] = box
        else:
            strays.append(box)
    return parts, strays


def _demand(parts: dict[bytes, Box], kind: bytes) -> Box:
    if kind not in parts:
        raise UnreadableImage(f"The HEIC's meta box has no {kind.decode('ascii')}")
    return parts[kind]


def _items(data: bytes, iinf: Box) -> Iterator[_Item]:
    fields = Fields(data, iinf)
    fields.take(4 if fields.version() else 2)  # how many there are, which the boxes say again
    for box in read_children(data, iinf, fields.at):
        entry = Fields(data, box)
        version = entry.version()
        number = entry.number(4 if version > 2 else 2)
        entry.take(2)  # protection
        kind = entry.take(4) if version > 1 else b""
        yield _Item(number, kind, entry.at, box.end)


def _wanted(data: bytes, parts: dict[bytes, Box], items: list[_Item]) -> set[int]:
    """The image items that are shown, with those that they are put together from; no thumbnails."""
    references = list(counted(_references(data, parts)))
    tiles: dict[int, list[int]] = {}
    for kind, source, target in references:
        if kind == b"dimg":
            tiles.setdefault(source, []).append(target)
    thumbnails = {source for kind, source, _ in references if kind == b"thmb"}
    inputs = {target for targets in tiles.values() for target in targets}
    images = {item.number for item in items if item.kind in _IMAGES}
    primary = _primary(data, _demand(parts, b"pitm"))
    if primary not in images:
        raise UnreadableImage(f"The HEIC's primary item {primary} is no image")
    return _reach((images - thumbnails - inputs) | {primary}, tiles) & images


def _references(data: bytes, parts: dict[bytes, Box]) -> Iterator[tuple[bytes, int, int]]:
    if (iref := parts.get(b"iref")) is None:
        return
    fields = Fields(data, iref)
    size_bytes = 4 if fields.version() else 2
    for box in read_children(data, iref, fields.at):
        entry = Fields(data, box)
        source = entry.number(size_bytes)
        for _ in range(entry.number(2)):
            yield box.kind, source, entry.number(size_bytes)


def _primary(data: bytes, pitm: Box) -> int:
    fields = Fields(data, pitm)
    return fields.number(4 if fields.version() else 2)


def _reach(roots: set[int], edges: dict[int, list[int]]) -> set[int]:
    seen, waiting = set(roots), list(roots)
    while waiting:
        fresh = {target for target in edges.get(waiting.pop(), ()) if target not in seen}
        seen |= fresh
        waiting.extend(fresh)
    return seen


def _extents(
    data: bytes, parts: dict[bytes, Box], wanted: set[int], file_end: int
) -> list[tuple[int, int]]:
    """Where in the file the bytes of the wanted items lie."""
    extents = []
    for item, method, offset, length in counted(_locations(data, _demand(parts, b"iloc"))):
        if item not in wanted:
            continue
        if method not in {_IN_FILE, _IN_IDAT}:
            raise UnreadableImage(f"A HEIC item is located by method {method}, not 0 or 1")
        idat = _demand(parts, b"idat") if method == _IN_IDAT else None
        origin, end = (idat.body, idat.end) if idat else (0, file_end)
        start = origin + offset
        stop = start + length if length else end
        if not start <= stop <= end:
            raise UnreadableImage(f"A HEIC item ends at byte {stop} of {end}")
        extents.append((start, stop))
    return extents


def _locations(data: bytes, iloc: Box) -> Iterator[tuple[int, int, int, int]]:
    """Item, construction method, offset and length of every extent (ISO/IEC 14496-12, 8.11.3)."""
    fields = Fields(data, iloc)
    version, sizes = fields.version(), fields.number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    if not {offset_size, length_size, base_size, index_size} <= _FIELD_SIZES:
        raise UnreadableImage("The numbers of a HEIC's iloc box have 0, 4 or 8 bytes")
    number_size = 4 if version > 1 else 2
    for _ in counted(range(fields.number(number_size))):
        item = fields.number(number_size)
        method = fields.number(2) & 15 if version else _IN_FILE
        fields.take(2)  # the file: this one
        base = fields.number(base_size)
        for _ in range(fields.number(2)):
            fields.take(index_size)
            yield item, method, base + fields.number(offset_size), fields.number(length_size)


def _merge(extents: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without overlaps, so that each byte is copied once."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(extents):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _needless_properties(data: bytes, parts: dict[bytes, Box]) -> Iterator[Box]:
    """Descriptions, times and whatever is unknown; a `free` one still counts as a number.

    Decoders look into the first container alone, and so is the work bounded.
    """
    if (iprp := parts.get(b"iprp")) is None:
        return
    container = None
    for box in read_children(data, iprp, iprp.body):
        if box.kind == b"ipco" and container is None:
            container = box
        elif box.kind != b"ipma":
            yield box
    if container is not None:
        properties = read_children(data, container, container.body)
        yield from (box for box in properties if box.kind not in _PROPERTIES)


def _wipe_texts(
    bare: bytearray, parts: dict[bytes, Box], items: Iterable[_Item], wanted: set[int]
) -> None:
    for item in items:
        _wipe(bare, item.name, item.end)
        if item.kind and item.number not in wanted:
            bare[item.name - len(_FREE) : item.name] = _FREE
    if (handler := parts.get(b"hdlr")) is not None:
        _wipe(bare, handler.body + _HANDLER_BYTES, handler.end)


def _free(bare: bytearray, box: Box) -> None:
    bare[box.start + 4 : box.start + 8] = _FREE
    _wipe(bare, box.body, box.end)


def _wipe(bare: bytearray, start: int, end: int) -> None:
    if start < end:
        bare[start:end] = bytes(end - start)
