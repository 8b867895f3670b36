from __future__ import annotations

import math

import pytest

from head_atlas.views.numbers import count, finite, interval, percent, plain, points, signed
from head_atlas.views.token_text import quoted, visible


def test_numbers_have_true_signs_and_no_negative_zero():
    assert plain(-0.1234) == "−0.12"
    assert plain(-0.001) == "0.00"
    assert signed(0.5) == "+0.50"
    assert signed(0.001) == "0.00"
    assert signed(-2) == "−2.00"
    assert plain(math.nan) == "–"
    assert plain(-math.inf) == "−∞"


def test_probabilities_never_round_to_a_false_certainty():
    assert percent(0.99999) == "> 99.9 %"
    assert percent(0.00001) == "< 0.1 %"
    assert (percent(0), percent(1), percent(0.5)) == ("0.0 %", "100.0 %", "50.0 %")
    assert percent(math.nan) == "–"
    assert points(-0.2004) == "−20.0 pp"


def test_intervals_and_counts():
    assert interval(-0.1, 0.2, sign=True) == "[−0.10, +0.20]"
    assert interval(math.nan, 0.2) == ""
    assert interval(0.5, 0.0) == "[0.50, 0.00]"  # of a strange file
    assert count(12345) == "12 345"
    assert count(math.nan) == "–"
    assert finite(math.nan) is None


@pytest.mark.parametrize(
    ("token", "shown"),
    [(" cat", "·cat"), ("\n\n", "⏎⏎"), ("", "∅"), ("  ", "··"), ("a b ", "a b·"), ("\u202ex", "▯x"), ("<b>", "<b>")],
)
def test_white_space_in_tokens_is_seen(token, shown):
    assert visible(token) == shown
    assert quoted(token) == f"“{shown}”"


def test_tiny_numbers_fit_their_column_and_keep_their_sign():
    assert plain(0.0000013, 7) == "1.3e−6"
    assert signed(-0.0000013, 7) == "−1.3e−6"
    assert signed(0.0000013, 7) == "+1.3e−6"
    assert signed(0.00042, 5) == "+0.00042"
    assert signed(-0.0001, 2) == "0.00"
