import math

import pytest

from qexplorer import numbers


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [
        (0.0, 4, "0"),
        (-0.0, 4, "0"),
        (1.0, 4, "1"),
        (0.5, 4, "0.5"),
        (-0.123456, 4, "−0.1235"),
        (3.14159, 3, "3.14"),
        (1234.5, 4, "1234"),
        (1000.0, 3, "1000"),
        (12345.6, 4, "12346"),
        (-123456.0, 4, "−123456"),
        (999999.4, 4, "999999"),
        (1e6, 4, "1.000e6"),
        (-2.5e9, 3, "−2.50e9"),
        (1e-4, 4, "0.0001"),
        (9.9e-5, 4, "9.900e−5"),
        (1e-30, 2, "1.0e−30"),
        (math.inf, 4, "∞"),
        (-math.inf, 4, "−∞"),
        (math.nan, 4, "NaN"),
    ],
)
def test_a_number_is_written_short_with_a_true_minus(x, digits, text):
    assert numbers.figure(x, digits) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10 k"),
        (24_576, "24.6 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (999_999, "1 M"),
        (2_236_106, "2.24 M"),
        (999_999_999, "1 B"),
        (70_600_000_000, "70.6 B"),
        (1_810_000_000_000, "1810 B"),
    ],
)
def test_a_large_number_is_short(n, text):
    assert numbers.many(n) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (8_947_123, "8.95 MB"), (1.6e10, "16.00 GB")],
)
def test_bytes_come_in_decimal_units(n, text):
    assert numbers.size(n) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (0.98901, "98.90 %"), (1.0, "100.00 %"), (0.000123, "0.012 %"), (1e-7, "1.0e−5 %")],
)
def test_a_share_is_a_percentage(share, text):
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "1 s"), (0.4, "1 s"), (42.4, "42 s"), (60, "1 min"), (1800, "30 min"), (5400, "1.5 h")],
)
def test_a_time_is_said_in_words(seconds, text):
    assert numbers.duration(seconds) == text


def test_counts_and_shapes_are_written_as_usual():
    assert numbers.count(24_576) == "24,576"
    assert numbers.shape((384, 64, 1, 1)) == "384×64×1×1"
    assert numbers.shape((7,)) == "7"
    assert numbers.shape(()) == "scalar"


def test_a_bounded_ratio_is_written_with_how_far_it_may_be_off_rounded_up():
    assert numbers.bounded_decibels(18.04, (17.7, 18.3)) == "18.0 ± 0.3"
    assert numbers.bounded_decibels(18.04, (17.7, 18.41)) == "18.0 ± 0.5"
    assert numbers.bounded_decibels(39.123, (39.1, 39.14)) == "39.12 ± 0.02"
    assert numbers.bounded_decibels(18.04, (17.76, math.inf)) == "≥ 17.7"
    assert numbers.bounded_decibels(18.04, None) == "18.04"
    assert numbers.bounded_decibels(math.inf, (60.0, math.inf)) == "∞"
