"""Comes last: no format may be offered that no judge has seen."""

from qexplorer.quant.formats import formats

JUDGE = "coverage"


def test_every_format_was_put_before_a_judge(covered):
    assert set(formats.names) - covered == set()
