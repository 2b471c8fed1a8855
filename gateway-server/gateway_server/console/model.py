"""The networks at work: their card, how they were measured, and what a similarity means."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from markdown_it import MarkdownIt
from markupsafe import Markup

from gateway_server.console.access import OperatorPage
from gateway_server.console.pages import render
from gateway_server.inference_answers import Curve, ModelTold
from gateway_server.problems import NotFound
from gateway_server.routes.access import TheGateway
from gateway_server.routes.forms import MODELS

GALLERY_SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
PLOT_NAME = r"^[a-z][a-z0-9-]{0,40}$"
FOR_AN_HOUR = "private, max-age=3600"
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TITLE = re.compile(r"\A\s*# [^\n]*\n")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
pages = APIRouter(prefix="/console/model", include_in_schema=False)


@dataclass(frozen=True)
class Demand:
    """What a lead takes in a gallery of so many faces, by each model; None: more than there is."""

    faces: int
    similarities: Sequence[float | None]


@pages.get("")
async def show_model(request: Request, _visitor: OperatorPage, gateway: TheGateway) -> Response:
    told, size = _usual_first(await gateway.inference.model()), await gateway.inference.gallery()
    allowed = told.lead_max_expected_false_matches
    values: dict[str, Any] = {
        "told": told,
        "gallery": size,
        "card": card_of(told.card),
        "curves": json.dumps({name: dict(curve) for name, curve in told.curves.items()}),
        "demands": [_demand(faces, allowed, told) for faces in GALLERY_SIZES],
        "gallery_log10": math.log10(max(size.faces, 10)),
    }
    return render(request, "model/model.html", **values)


@pages.get("/plots/{name}")
async def show_plot(
    name: Annotated[str, Path(pattern=PLOT_NAME)], _visitor: OperatorPage, gateway: TheGateway
) -> Response:
    if name not in (await gateway.inference.model()).plots:
        raise NotFound
    headers = {"Cache-Control": FOR_AN_HOUR}
    return Response(await gateway.inference.plot(name), media_type="image/png", headers=headers)


def card_of(text: str) -> Markup:
    """The card without its title, which the page has; what is HTML in it is shown as text."""
    bare = _TITLE.sub("", _COMMENT.sub("", text))
    return Markup(_MARKDOWN.render(bare))  # noqa: S704 - rendered without HTML of its own


def _usual_first(told: ModelTold) -> ModelTold:
    """The model that a search asks unless it says another."""
    curves = sorted(told.curves.items(), key=lambda one: one[0] != MODELS[0])
    models = sorted(told.models, key=lambda one: one.name != MODELS[0])
    return told.model_copy(update={"curves": dict(curves), "models": models})


def _demand(faces: int, allowed: float, told: ModelTold) -> Demand:
    fmr = allowed / faces
    return Demand(faces, [similarity_for(curve, fmr) for curve in told.curves.values()])


def similarity_for(curve: Curve, fmr: float) -> float | None:
    """The lowest similarity with this false match rate, between the curve's points."""
    places = list(zip(curve.similarity, curve.fmr, strict=True))
    for (before, rate_before), (after, rate_after) in pairwise(places):
        if rate_after <= fmr:
            return _between(before, rate_before, after, rate_after, fmr)
    return None


def _between(
    before: float, rate_before: float, after: float, rate_after: float, fmr: float
) -> float:
    """By the logarithms of the rates, as the curve is nearly straight in them."""
    if rate_before <= fmr or rate_after <= 0:
        return before if rate_before <= fmr else after
    share = math.log(rate_before / fmr) / math.log(rate_before / rate_after)
    return before + (after - before) * share
