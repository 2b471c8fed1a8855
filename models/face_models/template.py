"""What stands for a face when faces are compared, in ISO/IEC 2382-37's word its template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EMBEDDING: Final = "embedding"
HEATMAP: Final = "heatmap"
DESCRIPTORS: Final = (EMBEDDING, HEATMAP)

HEATMAP_DESCRIPTOR: Final = "heatmap-descriptor"
FLIP_SUFFIX: Final = "-flip"


@dataclass(frozen=True, slots=True)
class Template:
    """Templates of different names, or of different graphs, must never be compared.

    `name`: the model's own for its plain embedding; the calibration's curves have it as their key.
    `graphs`: the networks that make it, in their order; curves are measured on the last one.
    """

    name: str
    graphs: tuple[str, ...]


def template_of(model: str, descriptor: str = EMBEDDING, *, flip: bool = False) -> Template:
    """Of "base" or "heatmap".

    The heatmap descriptor takes the place of the heatmap network's embedding; the base network
    draws the map, and a mirror image has no part in it.
    """
    if model == "heatmap" and descriptor == HEATMAP:
        return Template(HEATMAP_DESCRIPTOR, ("base",))
    graphs = ("base", "heatmap") if model == "heatmap" else (model,)
    return Template(model + FLIP_SUFFIX if flip else model, graphs)
