"""Surveys: every format and every observer on one tensor, whole or thinned out."""

import math

import numpy as np
import pytest

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.glance import Glance
from qexplorer.quant.granularity import PerBlock, PerChannel, PerGroup, PerTensor
from qexplorer.quant.observers import observers
from qexplorer.quant.observers.percentile import Percentile
from qexplorer.quant.subsample import thin
from qexplorer.quant.survey import (
    CURVES,
    LIMIT,
    format_specs,
    observer_specs,
    refined,
    survey_formats,
    survey_observers,
    theory_curve,
)
from qexplorer.quant.tensor_source import Values

INT4 = QuantSpec(formats["int4"])


@pytest.fixture
def weight(rng):
    return rng.normal(0, 0.1, (24, 96)).astype(np.float32)


def formats_of(tensor, spec=INT4, **options):
    return finish(survey_formats(np.asarray(tensor), spec, **options))


def observers_of(tensor, spec=INT4, **options):
    return finish(survey_observers(np.asarray(tensor), spec, **options))


def test_every_format_is_there_or_left_out_with_a_reason(weight):
    survey = formats_of(weight)
    assert len(survey.points) + len(survey.refused) == len(formats)
    assert len({point.spec.format.name for point in survey.points}) == len(survey.points)
    assert all(refused.reason for refused in survey.refused)
    assert (survey.coverage, survey.n) == ("exact", weight.size)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0), PerGroup(32)], ids=lambda g: g.text)
def test_the_figures_are_those_of_the_analysis_with_the_other_choices_kept(weight, granularity):
    spec = QuantSpec(formats["int4"], "affine", granularity=granularity)
    points = {point.spec.format.name: point for point in formats_of(weight, spec).points}
    for name in ("int4", "uint8", "fp8_e4m3fn", "nf4", "bf16"):
        analysis = finish(analyze(weight, spec.adopt("format", formats[name])))
        assert points[name].spec == analysis.spec
        assert points[name].sqnr_db == pytest.approx(analysis.metrics.sqnr_db, abs=1e-9)
        assert points[name].bits_per_weight == analysis.metrics.bits_per_weight
    assert points["int4"].spec.granularity == granularity


def test_the_front_is_what_no_other_format_beats(weight):
    points = formats_of(weight).points
    figures = [(p.bits_per_weight, -p.sqnr_db) for p in points]
    assert figures == sorted(figures)
    for i, (bits, noise) in enumerate(figures):
        beaten = any(
            b <= bits and e <= noise and ((b, e) != (bits, noise) or j < i)
            for j, (b, e) in enumerate(figures)
            if j != i
        )
        assert points[i].on_front != beaten, points[i].spec.title


def test_values_that_a_format_holds_exactly_have_infinite_sqnr(rng):
    halves = rng.normal(size=(16, 64)).astype(np.float16)
    points = {point.spec.format.name: point for point in formats_of(halves).points}
    assert points["fp16"].sqnr_db == math.inf
    assert points["fp16"].on_front
    assert not points["tf32"].on_front  # no error either, with twice the bits
    assert math.isfinite(points["int8"].sqnr_db)


def test_a_tensor_that_no_format_can_have_is_an_error_in_words():
    with pytest.raises(UserError, match="int64"):
        formats_of(np.arange(9))
    with pytest.raises(UserError, match="finite"):
        formats_of(np.full((4, 4), np.nan, np.float32))
    with pytest.raises(UserError, match="Axis 3"):
        observers_of(np.ones((4, 4), np.float32), QuantSpec(granularity=PerChannel(3)))


def test_every_observer_is_there_or_refused_with_a_reason(weight):
    for spec in (INT4, QuantSpec(formats["int4"], granularity=PerChannel(0)), QuantSpec(formats["nf4"])):
        survey = observers_of(weight, spec)
        titles = [p.spec.observer.title for p in survey.points] + [r.title for r in survey.refused]
        assert sorted(titles) == sorted(cls.title for cls in observers)
        for refused in survey.refused:
            cls = next(cls for cls in observers if cls.title == refused.title)
            assert refused.reason == spec.refusal("observer", cls())
    assert any("Histogram" in refused.title for refused in survey.refused)


def test_the_observers_stand_in_the_order_of_their_sqnr_with_the_figures_of_the_analysis(weight):
    survey = observers_of(weight)
    figures = [point.sqnr_db for point in survey.points]
    assert figures == sorted(figures, reverse=True)
    for point in survey.points:
        analysis = finish(analyze(weight, point.spec))
        assert (point.lo, point.hi) == (analysis.lo, analysis.hi)
        assert point.mse == pytest.approx(analysis.metrics.mse, rel=1e-9)
        assert point.clipped_fraction == analysis.metrics.clipped_fraction


def test_the_observer_in_use_keeps_its_settings(weight):
    survey = observers_of(weight, QuantSpec(formats["int4"], observer=Percentile(90.0)))
    assert Percentile(90.0) in [point.spec.observer for point in survey.points]


def test_a_format_without_a_range_has_no_observers_to_compare(weight):
    survey = observers_of(weight, QuantSpec(formats["bf16"]))
    assert survey.points == ()
    assert len(survey.refused) == len(list(observers))
    assert "BF16" in survey.refused[0].reason


def test_the_histogram_counts_every_finite_value(weight):
    weight[3, 5], weight[4, 6] = np.nan, np.inf
    survey = observers_of(weight)
    finite = weight[np.isfinite(weight)].astype(np.float64)
    assert survey.counts.sum() == finite.size
    np.testing.assert_array_equal(survey.counts, np.histogram(finite, survey.bins.edges)[0])


def test_a_large_tensor_is_answered_at_once_the_same_way_every_time_then_exactly(rng):
    x = (rng.normal(size=(512, 256)) * rng.uniform(0.5, 2, (512, 1))).astype(np.float32)
    spec = QuantSpec(formats["int4"], granularity=PerChannel(0))
    glance = Glance(Values.of(x))
    for survey_of, first in ((survey_formats, formats_of(x, spec)), (survey_observers, observers_of(x, spec))):
        assert repr(first.points) == repr(finish(survey_of(glance, spec)).points)
        assert (first.coverage, first.n) == ("sampled", 65_536)
        survey = first
        while survey.coverage != "exact":
            survey = finish(refined(survey, glance))
        assert survey.points == finish(survey_of(x, spec, limit=x.size)).points


def thinned(x, spec, limit):
    return thin(Values.of(x), spec, limit).all()


@pytest.mark.parametrize(
    ("shape", "granularity"),
    [((1000, 700), PerTensor()), ((100_000,), PerTensor()), ((100_003,), PerGroup(48)), ((3, 200_000), PerTensor()),
     ((200, 900), PerChannel(1)), ((4, 5, 6000), PerChannel(-2)), ((1400, 700), PerBlock(4, 64)), ((1, 1, 90_000, 2),
     PerTensor()), ((300, 64, 3, 3), PerGroup(3))], ids=str)  # fmt: skip
def test_a_tensor_is_thinned_out_to_its_limit_in_order(shape, granularity):
    x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    part = thinned(x, QuantSpec(formats["int4"], granularity=granularity), 20_000)
    assert 5_000 <= part.size <= 20_000
    flat = part.ravel()
    assert (np.diff(flat) > 0).all()
    assert flat[0] < x.size / 4
    assert flat[-1] > x.size * 3 / 4


def test_whole_channels_are_taken_where_enough_of_them_fit():
    x = np.arange(4000 * 90, dtype=np.float32).reshape(4000, 10, 9)
    part = thinned(x, QuantSpec(granularity=PerChannel(0)), 9_000)
    assert part.shape == (100, 90)
    np.testing.assert_array_equal(part[7], x[int(part[7, 0]) // 90].ravel())
    assert thinned(x.reshape(9, 40_000), QuantSpec(granularity=PerChannel(0)), 90_000).shape[0] == 9


@pytest.mark.parametrize(("granularity", "size"), [(PerTensor(), 256), (PerGroup(100), 100), (PerGroup(32), 32)])
def test_groups_and_blocks_of_neighbours_stay_together(granularity, size):
    x = np.arange(1_000_000, dtype=np.float32)
    part = thinned(x, QuantSpec(granularity=granularity), 30_000)
    groups = part[: part.size // size * size].reshape(-1, size)
    np.testing.assert_array_equal(groups - groups[:, :1], np.broadcast_to(np.arange(size), groups.shape))
    assert (groups[:, 0] % size == 0).all()


def test_a_tensor_within_the_limit_is_left_as_it_is(weight):
    values = Values.of(weight)
    assert thin(values, INT4, LIMIT) is values
    assert thin(Values.of(np.float32(3).reshape(())), INT4, 0).shape == ()


def test_the_work_reports_its_share_and_can_be_stopped_between_any_two_steps(weight):
    steps = []
    finish(survey_formats(weight, INT4), steps.append)
    shares = [step.fraction for step in steps if step.fraction is not None]
    assert shares == sorted(shares)
    assert len(shares) > len(formats)
    work = survey_formats(weight, INT4)
    next(work)
    next(work)
    work.close()
    with pytest.raises(StopIteration):
        next(work)


def test_what_a_survey_depends_on_does_not_depend_on_what_it_compares():
    kmeans = INT4.adopt("format", formats["nf4"])
    assert format_specs(INT4) == format_specs(kmeans)
    assert format_specs(INT4) != format_specs(QuantSpec(formats["int4"], granularity=PerChannel(0)))
    mse = INT4.adopt("observer", observers["mse"]())
    assert observer_specs(INT4) == observer_specs(mse)
    assert observer_specs(INT4) != observer_specs(INT4.adopt("observer", Percentile(90.0)))


def test_theory_is_that_of_the_textbooks():
    """Max 1960, tables I and II; Shannon's bound for a Gaussian source."""
    gauss = theory_curve("lloyd_gauss")
    np.testing.assert_allclose(gauss.sqnr_db[:4], [4.396, 9.300, 14.616, 20.222], atol=0.01)
    bound = theory_curve("bound")
    np.testing.assert_allclose(bound.sqnr_db, np.multiply(bound.bits, 20 * math.log10(2)), atol=1e-9)
    for name in CURVES:
        curve = theory_curve(name)
        assert (np.array(curve.sqnr_db) <= np.interp(curve.bits, bound.bits, bound.sqnr_db) + 1e-9).all()
    uniform = theory_curve("uniform_gauss")
    np.testing.assert_allclose(uniform.sqnr_db[:4], [4.396, 9.254, 14.268, 19.381], atol=0.01)
