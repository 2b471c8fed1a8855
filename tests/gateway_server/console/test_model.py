"""A model card turned into a page, and what a lead takes."""

import pytest

from gateway_server.console.model import card_of, similarity_for
from gateway_server.inference_answers import Curve

CURVE = Curve(similarity=[0.0, 0.5, 1.0], fmr=[1.0, 1e-3, 1e-9])


@pytest.mark.parametrize(
    ("fmr", "similarity"), [(1.0, 0.0), (1e-3, 0.5), (1e-6, 0.75), (1e-9, 1.0), (1e-12, None)]
)
def test_what_a_lead_takes_is_read_off_the_curve(fmr: float, similarity: float | None):
    assert similarity_for(CURVE, fmr) == pytest.approx(similarity)


def test_a_card_runs_nothing_and_loads_nothing():
    text = "# Title\n\n<!-- a -->[x](javascript:alert(1)) ![i](https://a.example/i.png) <b>b</b>"
    shown = card_of(text)
    assert "javascript:" not in shown.replace("[x](javascript:alert(1))", "")
    assert "<img" not in shown
    assert "<b>" not in shown
    assert "Title" not in shown
    assert "<!--" not in shown
