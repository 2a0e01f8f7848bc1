"""Advice in the background: only while somebody looks, only on what is chosen."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.state.advisor import Advisor
from qexplorer.state.app_state import AppState
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Runner
from qexplorer.state.store import Store

INT8 = QuantSpec.parse("int8")


@pytest.fixture
def file(tmp_path: Path) -> str:
    rng = np.random.default_rng(1)
    spread = rng.normal(size=(512, 512)) * np.geomspace(0.01, 1, 512)[:, None]
    weights = {"large": spread, "small": spread[::16, ::16], "plain": rng.normal(size=(16, 16))}
    save_file({name: w.astype(np.float32) for name, w in weights.items()}, tmp_path / "one.safetensors")
    return str(tmp_path / "one.safetensors")


class Seen:
    """A store with its preview and advisor, and all that the advisor told."""

    def __init__(self, **fields: Any) -> None:
        self.store = Store(AppState(**fields))
        self.preview = Preview(self.store, Runner("preview"))
        self.advisor = Advisor(self.store, self.preview, Runner("measuring"))
        self.told: list[Any] = []
        self.advisor.changed.connect(lambda: self.told.append(self.advisor.advice))

    def settle(self, qtbot: Any) -> None:
        qtbot.waitUntil(lambda: self.preview.idle and self.advisor.idle, timeout=30_000)

    @property
    def remedies(self) -> list[str]:
        return [each.remedy for each in self.advisor.advice or ()]


@pytest.fixture
def see(qtbot: Any, file: str) -> Iterator[Callable[..., Seen]]:
    made: list[Seen] = []

    def make(*, watched: bool = True, **fields: Any) -> Seen:
        made.append(Seen(path=file, recipe=Recipe.of_weights(INT8), **fields))
        made[-1].advisor.watch(watched)
        made[-1].preview.start()
        made[-1].settle(qtbot)
        return made[-1]

    yield make
    for each in made:
        assert each.advisor.close()
        assert each.preview.close()


@pytest.mark.parametrize("tensor", ["large", "small"])
def test_what_helps_the_chosen_tensor_is_measured_and_then_told(qtbot, see, tensor):
    seen = see(tensor=tensor)
    assert "One scale per channel" in seen.remedies
    assert all("dB, now" in each.figure for each in seen.advisor.advice)
    seen.store.update(recipe=Recipe.of_weights(seen.advisor.advice[0].spec))
    assert seen.advisor.advice is None  # of the former spec nothing is told any more
    seen.settle(qtbot)
    assert "One scale per channel" not in seen.remedies


def test_what_was_chosen_before_has_its_advice_again(qtbot, see):
    seen = see(tensor="small")
    first = seen.advisor.advice
    assert first
    for back in ({"recipe": Recipe.of_weights(INT8)}, {"tensor": "small"}):
        seen.store.update(
            **{"recipe": Recipe.of_weights(QuantSpec.parse("int8 channel"))}
            if "recipe" in back
            else {"tensor": "plain"}
        )
        seen.settle(qtbot)
        assert seen.advisor.advice == ()
        seen.store.update(**back)
        seen.settle(qtbot)
        assert seen.advisor.advice == first


def test_looking_in_the_middle_of_a_change_shows_the_advice_on_the_new_choice(qtbot, see):
    seen = see(tensor="large", watched=False)
    seen.store.update(recipe=Recipe.of_weights(QuantSpec.parse("int4")))
    seen.advisor.watch(True)
    seen.settle(qtbot)
    assert all("4.00" in each.figure for each in seen.advisor.advice)
    assert "One scale per channel" in seen.remedies


def test_another_tensor_has_its_own_advice(qtbot, see):
    seen = see(tensor="small")
    seen.store.update(tensor="plain")
    seen.settle(qtbot)
    assert seen.advisor.advice == ()


def test_nothing_is_measured_while_nobody_looks(qtbot, see):
    seen = see(tensor="small", watched=False)
    assert not any(seen.told)
    seen.advisor.watch(True)
    seen.settle(qtbot)
    assert "One scale per channel" in seen.remedies


def test_a_tensor_that_cannot_be_had_gets_no_advice(qtbot, see):
    seen = see(tensor="small")
    seen.store.update(path="/no/such/file.npy")
    seen.settle(qtbot)
    assert seen.advisor.advice == ()
