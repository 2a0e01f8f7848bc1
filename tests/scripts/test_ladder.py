"""What scripts/ladder.py makes of the figures of its trainings; the runs themselves are tested where the jobs are."""

import pytest
from ladder import REAL, SIMULATED, TRAINED, Ladder, bars, mean_of

from qexplorer.engine.measuring.evaluate import wilson_interval
from qexplorer.engine.runs.results import Latency, Row

N = 1500
RIGHT = {"REAL int8 per tensor": 1484, "REAL int8 per channel": 1484, "W4 per tensor": 1100, "W4 per channel": 1470,
         "  + MSE clip": 1480, "  + GPTQ": 1470, "  + AdaRound": 1480}  # fmt: skip


def a_row(name: str, right: int) -> Row:
    real, fp32 = name.startswith("REAL"), name == "FP32"
    size = 2_300_000 if real else 9_000_000
    ms = 40.0 if real else 100.0
    latency = {"64": Latency(ms, ms, ms)} if real or fp32 else {}
    kind = "REAL" if real or fp32 else "SIMULATED"
    return Row(name, kind, "cpu", size, size, right / N, (0.0, 1.0), 1.0, N, 1488 - right, latency, 2)


def a_ladder(**rights: int) -> Ladder:
    """A training whose rungs have so many right; without more, every bar holds."""
    names = ["FP32", *(rung.name for rung in (*REAL, *SIMULATED, *TRAINED))]
    wanted = {**dict.fromkeys(names, 1488), **RIGHT, **rights}
    return Ladder({name: a_row(name, wanted[name]) for name in names}, dict.fromkeys(names, 2.0))


def missed(*ladders: Ladder) -> list[str]:
    return [bar.text for bar in bars(trained=True) if not bar.holds(mean_of(list(ladders)).rows)]


def test_the_mean_has_the_interval_of_one_model_and_the_seconds_of_all() -> None:
    mean = mean_of([a_ladder(FP32=right) for right in (1480, 1484, 1489)])
    row = mean.rows["FP32"]
    assert row.top1 == pytest.approx(4453 / 4500, abs=1e-15)
    assert row.top1_ci95 == wilson_interval(4453 / 3, N)
    assert row.top1_ci95[1] - row.top1_ci95[0] > 0.009  # 0.0054 if the images were 4,500
    assert (row.flips, row.latency_ms["64"].median, mean.seconds["FP32"]) == (4, 100.0, 6.0)


def test_the_bars_are_judged_by_the_mean_and_each_can_be_missed() -> None:
    assert missed(a_ladder()) == []
    order = "W4 per tensor < per channel < clipped"
    assert missed(a_ladder(**{"W4 per channel": 1480})) == [order]
    assert missed(a_ladder(**{"W4 per channel": 1481}), a_ladder()) == []
    assert missed(a_ladder(**{"W4 per tensor": 1470})) == [order]
    assert missed(a_ladder(**{"  + AdaRound": 1479})) == ["clipped ≤ the better of GPTQ and AdaRound"]
    for name, lost in (("REAL int8 per tensor", 4), ("REAL int8 per channel", 4), ("QAT W3A8", 10), ("QAT W4A4", 10),
                       ("  + CLE, clip, AdaRound, bias", 15)):  # fmt: skip
        assert missed(a_ladder(**{name: 1488 - lost})) == []
        (text,) = missed(a_ladder(**{name: 1488 - lost - 1}))
        assert text.startswith(f"{name.strip()} within")
