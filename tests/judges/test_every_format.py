"""Runs last: every format has been judged from outside, or is listed here with the reason why it cannot be."""

import pytest

from qexplorer.quant.formats import formats

JUDGE = "coverage"
UNJUDGED = {
    "tf32": "no library rounds to it on a CPU; checked against its definition, float32 with 10 bits of mantissa",
    "mxint8": "torchao has no MXINT8; checked against the text of OCP MX v1.0",
    "af4": "no package has it; its table is copied from Yoshida 2023 and its errors are checked against integrals",
    "kmeans8": "printed tables of Lloyd's levels end at 7 bits; checked against Lloyd and Max by integrals",
}
"""Formats without an external judge, and why."""


@pytest.fixture(autouse=True)
def told(record_property) -> None:
    for name, reason in UNJUDGED.items():
        record_property("without a judge", f"{name}: {reason}")


def test_every_format_was_judged_from_outside(covered):
    assert set(formats.names) - covered - set(UNJUDGED) == set(), "formats that no judge from outside has seen"


def test_a_format_without_a_judge_is_offered_and_has_none(covered):
    assert set(UNJUDGED) & covered == set(), "formats that have got a judge: take them from the list"
    assert set(UNJUDGED) - set(formats.names) == set(), "listed formats that there are none of"
