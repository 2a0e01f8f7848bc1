"""The spec: what it refuses and where, how a change is adopted, and its text form; then what holds for every scheme."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.errors import UserError
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel, PerGroup, PerTensor
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.observers.histogram import Histogram
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.observers.percentile import Percentile
from qexplorer.quant.quantize import quantize
from qexplorer.quant.rounding import HalfUp, roundings
from qexplorer.quant.scale_dtypes import scale_dtypes
from qexplorer.settings import schema

GRANULARITIES = [PerTensor(), PerChannel(1), PerGroup(64)]
OBSERVERS = [MinMax(), Percentile(99.9), Mse(), Histogram(), Fixed(-0.1, 2.5)]
VALUES = {each.name: each.registry.names if each.registry else each.values for each in schema(QuantSpec)}
INTEGERS = [form for form in formats if "scheme" in form.applies]
FULL = [form for form in INTEGERS if form.bits > 1]


def allowed():
    schemes = [("affine", None), ("affine_float", None), *(("symmetric", c) for c in VALUES["convention"])]
    for form, (scheme, convention), granularity, observer in itertools.product(
        formats, schemes, GRANULARITIES, OBSERVERS
    ):
        try:
            yield QuantSpec(form, scheme, convention, granularity, observer=observer)
        except UserError as refused:
            assert refused.field  # noqa: PT017


ALLOWED = list(allowed())


def test_every_integer_scheme_is_allowed_but_for_the_histogram_observer_and_more_than_one_range():
    integers = [spec for spec in ALLOWED if spec.format in FULL]
    assert len(integers) == len(FULL) * 7 * (3 * 5 - 2)
    assert [spec.format.name for spec in ALLOWED if not spec.format.scaled] == ["fp16", "bf16", "tf32"]


def test_every_allowed_spec_survives_json():
    for spec in ALLOWED:
        assert QuantSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("rounding", roundings.names)
@pytest.mark.parametrize("division", VALUES["division"])
def test_rounding_and_division_survive_json(rounding, division):
    spec = QuantSpec(rounding=roundings.read(rounding), division=division)
    assert QuantSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_missing_fields_have_their_defaults():
    assert QuantSpec.from_json({}) == QuantSpec()
    assert QuantSpec.from_json({"format": "int4", "granularity": "group:64"}) == QuantSpec(
        formats["int4"], granularity=PerGroup(64)
    )


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: QuantSpec(scheme="sideways"), "scheme"),
        (lambda: QuantSpec(convention="odd"), "convention"),
        (lambda: QuantSpec.from_json({"rounding": "up"}), "rounding"),
        (lambda: QuantSpec(division="long"), "division"),
        (lambda: QuantSpec(scheme="affine", convention="full_span"), "convention"),
        (lambda: QuantSpec(granularity=PerChannel(0), observer=Histogram()), "observer"),
        (lambda: QuantSpec(formats["fp16"], scheme="affine"), "scheme"),
        (lambda: QuantSpec(formats["bf16"], granularity=PerGroup(32)), "granularity"),
        (lambda: QuantSpec(formats["fp16"], observer=Mse()), "observer"),
        (lambda: QuantSpec(formats["fp16"], division="true"), "division"),
        (lambda: QuantSpec.from_json({"format": "int9"}), "format"),
        (lambda: QuantSpec.from_json({"granularity": "row"}), "granularity"),
        (lambda: QuantSpec.from_json({"granularity": "group:0"}), "granularity"),
        (lambda: QuantSpec.from_json({"observer": "percentile:3"}), "observer"),
        (lambda: QuantSpec.from_json({"observer": "minmax:3"}), "observer"),
    ],
)
def test_what_is_impossible_is_refused_with_the_field_at_fault(make, field):
    with pytest.raises(UserError) as refused:
        make()
    assert refused.value.field == field


def test_an_unknown_field_is_named_with_those_there_are():
    with pytest.raises(UserError, match=r"“colour”.*Its settings: format, scheme"):
        QuantSpec.from_json({"colour": "red"})


def test_adopting_a_plain_cast_puts_all_later_fields_back():
    spec = QuantSpec(
        formats["int4"], "affine", "restricted", PerGroup(32), scale_dtypes["float16"], Mse(), HalfUp(), "true"
    )
    assert spec.adopt("format", formats["fp16"]) == QuantSpec(formats["fp16"])


def test_adopting_keeps_later_fields_that_still_fit():
    spec = QuantSpec(
        formats["int4"], "symmetric", "full_span", PerGroup(32), scale_dtypes["bfloat16"], Mse(), HalfUp(), "true"
    )
    assert spec.adopt("format", formats["int8"]).to_json() == {**spec.to_json(), "format": "int8"}
    assert spec.adopt("scheme", "affine").to_json() == {
        **spec.to_json(), "scheme": "affine", "convention": "restricted"
    }  # fmt: skip


def test_adopting_channels_puts_an_observer_that_serves_one_range_back_to_minmax():
    spec = QuantSpec(observer=Histogram()).adopt("granularity", PerChannel(0))
    assert (spec.granularity, spec.observer) == (PerChannel(0), MinMax())


def test_adopting_an_impossible_value_is_refused():
    with pytest.raises(UserError):
        QuantSpec(formats["fp16"]).adopt("scheme", "affine")


@pytest.mark.parametrize("spec", [QuantSpec(scheme="affine"), QuantSpec(formats["fp16"])], ids=lambda s: s.title)
def test_a_field_without_meaning_says_why(spec):
    assert spec.applies("convention")
    assert not spec.applies("format")
    assert not QuantSpec().applies("convention")


def test_the_title_says_the_format_the_scheme_and_the_granularity():
    assert QuantSpec(formats["int4"], granularity=PerChannel(0)).title == "INT4 symmetric per channel"
    assert QuantSpec(formats["bf16"]).title == "BF16"


TENSORS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6), elements=st.floats(-1000, 1000, width=32)
)
SCHEMES = st.builds(
    lambda form, choice, granularity: QuantSpec(form, *choice, granularity),
    st.sampled_from(FULL),
    st.sampled_from([("affine", None), *(("symmetric", c) for c in VALUES["convention"])]),
    st.sampled_from([PerTensor(), PerChannel(0), PerGroup(4)]),
)


@given(TENSORS, SCHEMES)
def test_zero_becomes_zero(tensor, spec):
    tensor[..., 0] = 0
    assert not quantize(tensor, spec)[1][..., 0].any()


@given(TENSORS, SCHEMES, st.integers(0, 6))
def test_scaling_by_a_power_of_two_keeps_every_code(tensor, spec, k):
    tensor = np.where(np.abs(tensor) < 1e-20, np.float32(1e-20), tensor)  # zeros have the least scale
    codes, values, params = quantize(tensor, spec)
    again, scaled, scaled_params = quantize(tensor * np.float32(2.0**k), spec)
    np.testing.assert_array_equal(params.scale * np.float32(2.0**k), scaled_params.scale)
    np.testing.assert_array_equal(codes, again)
    np.testing.assert_array_equal(values * np.float32(2.0**k), scaled)


@given(TENSORS, st.sampled_from(["int2", "int4", "int8"]))
def test_restricted_symmetric_quantization_is_odd(tensor, name):
    spec = QuantSpec(formats[name])
    np.testing.assert_array_equal(quantize(-tensor, spec)[1], -quantize(tensor, spec)[1])


@given(TENSORS, SCHEMES)
def test_codes_stay_within_the_format_and_minmax_errs_by_half_a_step_unless_it_clips(tensor, spec):
    codes, values, params = quantize(tensor, spec)
    assert codes.min() >= params.qmin
    assert codes.max() <= params.qmax
    assert params.qmax - params.qmin < 2**spec.format.bits
    step = np.abs(params.scale).max()
    tolerance = 1.001 if spec.convention == "signed_extreme" else 0.501  # the opposite extreme may lose a whole step
    rounding = np.abs(tensor).max() * 2.0**-21  # of the quotient and the product, in float32
    assert np.abs(values.astype(np.float64) - tensor).max() <= step * tolerance + rounding


# one line of text


@pytest.mark.parametrize("name", formats.names)
def test_every_formats_default_spec_is_its_name(name):
    spec = QuantSpec(formats[name])
    assert spec.short == name
    assert QuantSpec.parse(name) == spec


def test_every_allowed_spec_is_read_from_its_own_line():
    for spec in ALLOWED:
        assert QuantSpec.parse(spec.short) == spec


EVERY = {
    "scheme": VALUES["scheme"],
    "convention": VALUES["convention"],
    "scale_dtype": VALUES["scale_dtype"],
    "rounding": (*(r for r in VALUES["rounding"] if r != "stochastic"), "stochastic:0", "stochastic:77"),
    "division": VALUES["division"],
    "granularity": ("tensor", "channel:0", "channel:-1", "group:48", "block:16x8"),
    "observer": ("minmax", "mse", "percentile:99.5", "fixed:-0.25,3", "moving_average:0.1", "hqq", "absmean"),
}


@given(st.sampled_from(formats.names), st.data())
def test_any_spec_is_read_from_its_own_line_in_any_order_of_words(name, data):
    fields = {"format": name}
    for field in data.draw(st.lists(st.sampled_from(list(EVERY)), unique=True)):
        fields[field] = data.draw(st.sampled_from(EVERY[field]))
    try:
        spec = QuantSpec.from_json(fields)
    except UserError:
        return
    first, *words = spec.short.split()
    assert QuantSpec.parse(" ".join([first, *data.draw(st.permutations(words))])) == spec
    assert QuantSpec.parse(QuantSpec.parse(spec.short).short) == spec
    chosen = [field for field in EVERY if spec.to_json()[field] != QuantSpec.parse(name).to_json()[field]]
    assert len(words) <= len(chosen) + ("convention" in fields)


def test_no_two_fields_have_a_value_of_the_same_name():
    owners: dict[str, list[str]] = {}
    for field, values in VALUES.items():
        for value in values:
            owners.setdefault(value, []).append(field)
    assert {value: fields for value, fields in owners.items() if len(fields) > 1} == {}


def test_a_line_says_only_what_is_not_a_default():
    assert QuantSpec.parse("int4 channel:0 mse").short == "int4 channel:0 mse"
    assert QuantSpec.parse("  int4   mse channel:0\t").short == "int4 channel:0 mse"
    assert QuantSpec.parse("int8 symmetric restricted tensor float32 minmax half_even reciprocal").short == "int8"
    assert QuantSpec.parse("uint8 affine stochastic").short == "uint8 affine stochastic:0"
    assert QuantSpec.parse("int1 full_span").short == "int1 full_span"
    assert QuantSpec.parse("int1 signed_extreme").short == "int1"


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("", "format", "There is no format “”"),
        ("int9", "format", "There is no format “int9”"),
        ("channel:0 int4", "format", "There is no format “channel:0”"),
        ("int4 loud", "spec", "“loud” is no part of a spec.*for example “int4 channel:0 mse”"),
        ("int4 int8", "spec", "“int8” is no part of a spec"),
        ("int4 channel:0 group:32", "granularity", "gives the granularity twice"),
        ("int4 mse minmax", "observer", "gives the observer twice"),
        ("int4 float16 bfloat16", "scale_dtype", "gives the scale dtype twice"),
        ("int4 group:0", "granularity", "not possible"),
        ("int4 group:x", "granularity", "whole number, not “x”"),
        ("int4 stochastic:x", "rounding", "whole number, not “x”"),
        ("int4 half_up:3", "rounding", "more settings than half_up takes"),
        ("int4 affine full_span", "convention", "does not apply"),
        ("fp16 mse", "observer", "does not apply"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(text, field, message):
    with pytest.raises(UserError, match=message) as refused:
        QuantSpec.parse(text)
    assert refused.value.field == field
