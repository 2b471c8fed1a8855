"""The pipeline in its one function, over an index that answers what it is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from face_models.errors import NoFace
from inference_server.gallery import Counts, Embedding, Resemblance, SearchResult
from inference_server.matcher import Matcher, MatchOptions, Policy
from tests.inference_server.painted_people import (
    BLUE,
    RED,
    Colour,
    PaintedCalibration,
    embedding_of,
    paint,
    painted_pipeline,
)

OPTIONS = MatchOptions(model="heatmap", top_k=5, face=None)
FACES = 1000


@dataclass
class TellingIndex:
    """A gallery of a thousand faces; its nearest persons have these similarities."""

    similarities: tuple[float, ...] = ()
    asked: tuple[str, Embedding, int] | None = None

    def search(self, model: str, probe: Embedding, top_k: int) -> SearchResult:
        self.asked = (model, probe, top_k)
        nearest = [Resemblance(f"p{i}", f"f{i}", s) for i, s in enumerate(self.similarities)]
        return SearchResult(nearest, self.counts())

    def counts(self) -> Counts:
        return Counts(persons=400, faces=FACES, version=7)


def matcher(index: TellingIndex, allowed: float = 0.1) -> Matcher:
    policy = Policy(lead_max_expected_false_matches=allowed, verify_max_false_match_rate=0.001)
    return Matcher(painted_pipeline(), index, policy)


@pytest.mark.parametrize("model", ["base", "heatmap"])
def test_the_index_is_asked_with_the_embedding_of_the_chosen_model(model: str):
    index = TellingIndex()
    matcher(index).match(paint(RED), MatchOptions(model=model, top_k=3, face=0))
    assert index.asked is not None
    asked_model, probe, top_k = index.asked
    assert (asked_model, top_k) == (model, 3)
    assert probe == pytest.approx(embedding_of(RED, model))


def test_false_matches_are_expected_among_all_faces_not_persons():
    (candidate,) = matcher(TellingIndex((0.5,))).match(paint(RED), OPTIONS).candidates
    assert candidate.expected_false_matches == pytest.approx(1e-3 * FACES)


@pytest.mark.parametrize(
    ("similarities", "allowed", "verdict"),
    [
        ((), 1.0, "no_credible_lead"),
        ((0.5,), 1.0001, "lead"),
        ((0.5,), 0.9999, "no_credible_lead"),
        ((0.9, 0.1), 0.1, "lead"),
        ((0.1, 0.1), 0.1, "no_credible_lead"),
    ],
)
def test_a_lead_is_a_best_candidate_whom_chance_hardly_explains(
    similarities: tuple[float, ...], allowed: float, verdict: str
):
    found = matcher(TellingIndex(similarities), allowed).match(paint(RED), OPTIONS)
    assert found.verdict == verdict


def test_a_similarity_counts_less_for_a_probe_whom_many_resemble():
    """Of a probe half as isolated, 0.5 says what 0 says of the median person."""
    policy = Policy(lead_max_expected_false_matches=1.1, verify_max_false_match_rate=0.001)
    crowded = painted_pipeline(calibration=PaintedCalibration(everybodys_isolation=0.5))
    median, found = (
        Matcher(pipeline, TellingIndex((0.5,)), policy).match(paint(RED), OPTIONS)
        for pipeline in (painted_pipeline(), crowded)
    )
    assert median.candidates[0].expected_false_matches == pytest.approx(1)
    assert found.candidates[0].expected_false_matches == pytest.approx(FACES)
    assert found.candidates[0].confidence < median.candidates[0].confidence
    assert (median.verdict, found.verdict) == ("lead", "no_credible_lead")


class CrowdedRed(PaintedCalibration):
    """Many resemble the red person, and nobody else."""

    def isolation(self, model: str, probe: Embedding) -> float:
        return 0.5 if np.allclose(probe, embedding_of(RED, model)) else 1.0


@pytest.mark.parametrize("photos", [(RED, BLUE), (BLUE, RED)])
def test_two_photos_are_judged_by_the_one_whom_more_people_resemble(photos: tuple[Colour, Colour]):
    policy = Policy(lead_max_expected_false_matches=0.1, verify_max_false_match_rate=0.5)
    judge = Matcher(painted_pipeline(calibration=CrowdedRed()), TellingIndex(), policy)
    found = judge.verify(paint(photos[0]), paint(photos[1]), "base")
    assert found.confidence == pytest.approx(found.similarity)  # of others it were (s + 1) / 2


def test_every_step_is_timed_and_the_total_holds_them_all():
    timings = matcher(TellingIndex()).match(paint(RED), OPTIONS).timings_ms
    assert {"decode", "detect", "embed", "search", "total"} <= timings.keys()
    assert timings["total"] >= timings["embed"] + timings["search"]


def test_a_photo_without_a_face_never_reaches_the_index():
    index = TellingIndex()
    with pytest.raises(NoFace):
        matcher(index).match(paint(), OPTIONS)
    assert index.asked is None
