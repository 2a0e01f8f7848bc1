import pytest

from qexplorer.text import cell, elide, first_few, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layer.0.weight", "layer.0.weight"),
        ("größe.重み", "größe.重み"),
        ("a\x00b\x1b[2J\x85", "a\\x00b\\x1b[2J\\x85"),
        ("a\u202eb\u2066\u200f\u061c", "a\\u202eb\\u2066\\u200f\\u061c"),
        ("a\ud800", "a\\ud800"),
        ("a\u2028\nb", "a\\u2028\\x0ab"),
        ("\U000e0041", "\\U000e0041"),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
    ],
)
def test_what_moves_the_cursor_or_the_line_is_written_out(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\x00" * 2000, "x" * 513])
def test_a_long_text_loses_its_middle(text: str) -> None:
    assert len(printable(text)) <= 512
    assert "…" in printable(text)


def test_a_short_text_is_kept() -> None:
    assert elide("abcdef", 6) == "abcdef"
    assert elide("abcdefg", 6) == "abc…fg"


def test_a_list_of_names_says_how_many_more_there_are() -> None:
    assert first_few(["a", "b"]) == "a, b"
    assert first_few([str(n) for n in range(1005)]) == "0, 1, 2, 3, 4 and 1,000 more"


@pytest.mark.parametrize("text", ['=HYPERLINK("http://a")', "+cmd", "-cmd|x", "@SUM(A1)", "\t=1", "-1+2", "+"])
def test_what_a_spreadsheet_would_compute_is_a_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "layer.weight", "-1.5", "+3", "-1e-9", "-inf", "4 = 4", "a-b", "'=x"])
def test_numbers_and_other_texts_stay_as_they_are(text: str) -> None:
    assert cell(text) == text
