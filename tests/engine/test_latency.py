import pytest
import torch
from torch import Tensor, nn

from qexplorer.engine.measuring import latency
from qexplorer.engine.measuring.latency import measure_latency
from qexplorer.progress import finish


class Recorder(nn.Module):
    """Notes in a shared list who was called, with what batch and how many threads."""

    def __init__(self, name: str, calls: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self.name, len(x), torch.get_num_threads()))
        return x


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 10)


def test_modules_take_turns_after_a_warm_up() -> None:
    calls: list[tuple[str, int, int]] = []
    modules = {"a": Recorder("a", calls), "b": Recorder("b", calls)}
    found = finish(measure_latency(modules, (1, 2, 2), (1, 4), threads=1))
    names = [name for name, size, _ in calls if size == 1]
    assert names[:6] == list("aaabbb")
    assert names[6:10] == list("abba")
    assert {threads for *_, threads in calls} == {1}
    for by_size in found.values():
        assert list(by_size) == [1, 4]
        for one in by_size.values():
            assert one.runs == 10
            assert 0 < one.p05 <= one.median <= one.p95


def test_threads_are_put_back_when_it_is_stopped_half_way() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        steps = measure_latency({"a": Recorder("a", [])}, (1, 2, 2), threads=1)
        next(steps)
        assert torch.get_num_threads() == 1
        steps.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_fraction_never_falls() -> None:
    fractions = [step.fraction for step in measure_latency({"a": Recorder("a", [])}, (1, 2, 2), threads=1)]
    assert fractions == sorted(fractions, key=lambda f: f or 0.0)
