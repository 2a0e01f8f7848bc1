import numpy as np
import pytest
from hands import analysis_of
from PySide6.QtWidgets import QLabel

from qexplorer import numbers
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.analysis import for_all
from qexplorer.quant.glance import Glance
from qexplorer.quant.tensor_source import Values
from qexplorer.widgets.metrics_list import LINES, MetricsList


@pytest.fixture
def metrics(shown) -> MetricsList:
    return shown(MetricsList(), 300, 420)


def band(metrics: MetricsList) -> str:
    return metrics.findChild(QLabel, "band").text()


def test_the_figures_are_those_of_the_result(metrics, bell):
    a = analysis_of(bell, format="int4")
    metrics.show_analysis(a)
    shown = metrics.figures()
    assert shown["SQNR"] == f"{a.metrics.sqnr_db:.2f}"
    assert shown["Mean squared error"] == numbers.figure(a.metrics.mse)
    assert shown["Worst error"] == numbers.figure(a.metrics.max_abs_error)
    assert shown["Cosine"] == f"{a.metrics.cosine:.6f}"
    assert shown["Bits per weight"] == f"{4 + 32 / bell.size:.3f}"
    assert shown["Scale S"] == numbers.figure(1.5 / 7)
    assert shown["Zero point Z"] == "0"
    assert shown["Size"] == "4.10 kB  ←  32.77 kB"
    assert shown["Clipped"] == "0.00 %"


def test_many_scales_are_their_least_and_greatest(metrics, bell):
    metrics.show_analysis(analysis_of(bell, format="uint4", scheme="affine", granularity="channel:0"))
    shown = metrics.figures()
    for name in ("Scale S", "Zero point Z"):
        least, greatest = (float(part.replace("−", "-")) for part in shown[name].split(" … "))
        assert least < greatest


def test_a_plain_cast_has_no_scale(metrics, bell):
    metrics.show_analysis(analysis_of(bell, format="fp16"))
    assert (metrics.figures()["Scale S"], metrics.figures()["Zero point Z"]) == ("none", "none")


@pytest.mark.parametrize(
    ("spec", "word"), [({"format": "int2"}, "poor"), ({"format": "int16"}, "good"), ({"format": "int6"}, "fair")]
)
def test_the_sqnr_is_judged_in_a_word(metrics, spec, word):
    metrics.show_analysis(analysis_of(np.random.default_rng(0).normal(size=4000).astype(np.float32), **spec))
    expected = {"poor": (-99, 15), "fair": (15, 25), "good": (25, 999)}[band(metrics).split(":")[0]]
    assert expected[0] <= float(metrics.figures()["SQNR"]) < expected[1]
    if word != "fair":
        assert band(metrics).startswith(word)


def test_no_word_praises_an_sqnr_that_one_value_makes(metrics):
    x = np.random.default_rng(0).normal(size=(100, 1000)).astype(np.float32)
    x[3, 3] = 3000
    metrics.show_analysis(analysis_of(x))
    assert 15 < float(metrics.figures()["SQNR"]) < 25
    assert band(metrics) == "nearly all on one code"


def test_without_error_the_sqnr_is_infinite(metrics):
    metrics.show_analysis(analysis_of(np.array([[127, -127, 5]], np.float32)))
    assert (metrics.figures()["SQNR"], band(metrics)) == ("∞", "no error at all")


def test_a_first_answer_shows_what_has_bounds_and_nothing_else_as_a_figure(metrics):
    x = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    for words, known in (("int4 channel:0", True), ("int4 channel:0 mse", False)):
        spec = QuantSpec.parse(words)
        found = finish(Glance(Values.of(x)).estimate(spec))
        exact = finish(analyze(x, spec))
        metrics.show_analysis(for_all(exact, x.shape, x.nbytes, x.size, found))
        shown = metrics.figures()
        assert {shown[name] for name in ("Cosine", "Mean absolute error", "Codes used", "Code entropy")} == {"…"}
        assert shown["Bits per weight"] == f"{exact.metrics.bits_per_weight:.3f}"
        if known:
            assert "±" in band(metrics)
            assert shown["Worst error"].startswith("≤ ")
            assert shown["Clipped"] == "0.00 %"
            assert "…" not in shown["Scale S"].replace(" … ", "")
        else:
            assert shown["SQNR"] == shown["Mean squared error"] == shown["Scale S"] == "…"
            assert band(metrics) == "being measured"


def test_values_that_are_not_finite_are_counted_only_where_there_are_any(metrics, bell):
    def line() -> list[str]:
        return [w.text() for w in metrics.findChildren(QLabel) if w.isVisible()]

    metrics.show_analysis(analysis_of(np.array([1, np.nan, np.inf, 2], np.float32)))
    assert "Not finite" in line()
    assert line()[line().index("Not finite") + 1] == "2"
    metrics.show_analysis(analysis_of(bell))
    assert "Not finite" not in line()


@pytest.mark.parametrize(
    "values", [np.zeros((0, 3)), np.zeros(4), np.full(4, np.nan), np.full(4, np.inf), np.float32(3)], ids=str
)
@pytest.mark.filterwarnings("default:.*:RuntimeWarning:qexplorer.quant")
def test_odd_tensors_have_figures_too(metrics, values):
    for spec in ({}, {"format": "fp16"}, {"format": "uint4", "scheme": "affine"}):
        metrics.show_analysis(analysis_of(np.asarray(values, np.float32), **spec))
        assert all(metrics.figures().values())


def test_without_a_result_it_says_what_to_do(metrics, bell):
    metrics.show_analysis(analysis_of(bell))
    metrics.show_analysis(None)
    assert band(metrics) == "Select a tensor"
    assert set(metrics.figures().values()) == {"–", ""}


def test_no_widget_is_made_while_figures_change(metrics, bell):
    before = set(metrics.findChildren(QLabel))
    for name in ("int8", "int4", "fp16") * 5:
        metrics.show_analysis(analysis_of(bell, format=name))
    assert set(metrics.findChildren(QLabel)) == before


def test_every_line_says_what_it_means(metrics):
    meanings = {w.text(): w.toolTip() for w in metrics.findChildren(QLabel)}
    for line in LINES:
        assert meanings[line.label]
