"""Surveys in the background: only for what is watched, only of what is chosen, and never in the way."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from qexplorer.progress import finish
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.survey import survey_formats, survey_observers
from qexplorer.state import surveys as module
from qexplorer.state.app_state import AppState
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Runner
from qexplorer.state.store import Store
from qexplorer.state.surveys import KINDS, Kind, Surveys

INT4 = QuantSpec(formats["int4"])
CHANNELS = QuantSpec(formats["int4"], granularity=PerChannel(0))


@pytest.fixture
def file(tmp_path: Path) -> str:
    rng = np.random.default_rng(1)
    weights = {
        "a": rng.normal(size=(8, 64)).astype(np.float32),
        "b": rng.laplace(size=(16, 32)).astype(np.float32),
        "large": rng.normal(size=(300, 300)).astype(np.float32),
        "steps": np.array([7], np.int64),
    }
    save_file(weights, tmp_path / "one.safetensors")
    return str(tmp_path / "one.safetensors")


class Watched:
    """A store with its preview and surveys, and everything that the surveys told."""

    def __init__(self, state: AppState) -> None:
        self.store = Store(state)
        self.preview = Preview(self.store, Runner("preview"))
        self.surveys = Surveys(self.store, self.preview, Runner("measuring"))
        self.told: list[tuple[str, Any]] = []
        self.surveys.surveyed.connect(self._on_told)
        self.surveys.failed.connect(self._on_failed)

    def _on_told(self, kind: str, survey: Any) -> None:
        self.told.append((kind, survey))

    def _on_failed(self, kind: str, failed: Any) -> None:
        self.told.append((f"{kind} failed", failed.message))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]

    def settle(self, qtbot: Any) -> None:
        qtbot.waitUntil(lambda: self.preview.idle and self.surveys.idle, timeout=30_000)


@pytest.fixture
def watch(qtbot: Any) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(*kinds: str, **fields: Any) -> Watched:
        made.append(Watched(AppState(**fields)))
        made[-1].preview.start()
        for kind in kinds:
            made[-1].surveys.watch(kind, True)
        made[-1].settle(qtbot)
        return made[-1]

    yield make
    for each in made:
        assert each.surveys.close()
        assert each.preview.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the surveys that were begun."""
    begun: list[str] = []

    def noted(kind: Kind) -> Callable[..., Any]:
        def make(*args: Any) -> Any:
            begun.append(kind.title)
            return kind.make(*args)

        return make

    for name, kind in KINDS.items():
        monkeypatch.setitem(KINDS, name, replace(kind, make=noted(kind)))
    return begun


def test_nothing_is_computed_for_what_nobody_watches(qtbot, watch, file, calls):
    seen = watch(path=file, tensor="a")
    seen.store.update(tensor="b", recipe=Recipe.of_weights(INT4))
    seen.settle(qtbot)
    assert calls == seen.told == []


def test_the_survey_is_that_of_the_chosen_tensor_and_spec(qtbot, watch, file):
    seen = watch("formats", "observers", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    values = finish(seen.preview.analyses.values("a"))
    assert dict(seen.told) == {
        "formats": finish(survey_formats(values, INT4)),
        "observers": dict(seen.told)["observers"],
    }
    assert dict(seen.told)["observers"].points == finish(survey_observers(values, INT4)).points


def test_watching_later_begins_then_and_watching_no_more_ends_it(qtbot, watch, file, calls):
    seen = watch(path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    seen.surveys.watch("formats", True)
    seen.settle(qtbot)
    assert seen.kinds == ["formats"]
    seen.surveys.watch("formats", False)
    seen.store.update(tensor="b")
    seen.settle(qtbot)
    assert seen.kinds == ["formats"]
    seen.surveys.watch("formats", True)
    seen.surveys.watch("formats", False)
    seen.settle(qtbot)
    assert seen.kinds == ["formats"]


def test_a_large_tensor_is_shown_at_once_and_becomes_exact_in_place(qtbot, watch, file, monkeypatch):
    monkeypatch.setattr(module, "TELL_S", 0.0)
    seen = watch("formats", path=file, tensor="large", recipe=Recipe.of_weights(CHANNELS))
    first, *middle, last = (survey for _, survey in seen.told)
    assert (first.coverage, last.coverage, last.n) == ("sampled", "exact", 90_000)
    names = [point.spec.format.name for point in first.points]
    assert len(middle) == len(names) - 1
    exact = 0
    assert sorted(point.spec.format.name for point in last.points) == sorted(names)
    for survey in (*middle, last):
        assert survey is last or [point.spec.format.name for point in survey.points] == names
        exact, before = sum(point.coverage == "exact" for point in survey.points), exact
        assert exact == before + 1
    known = {point.spec.format.name: point for point in last.points}
    for point in first.points:
        true = known[point.spec.format.name]
        assert point.bits_per_weight == true.bits_per_weight
        if point.coverage == "pending":
            assert math.isnan(point.sqnr_db)
        else:
            low, high = point.bounds
            assert low <= true.sqnr_db <= high


def test_what_was_found_of_a_large_tensor_is_not_lost_when_another_is_looked_at(qtbot, watch, file, monkeypatch):
    monkeypatch.setattr(module, "TELL_S", 0.0)
    seen = watch("formats", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    seen.store.update(tensor="large")
    qtbot.waitUntil(lambda: len(seen.told) > 4, timeout=20_000)
    seen.store.update(tensor="b")
    seen.settle(qtbot)
    before = max(sum(p.coverage == "exact" for p in s.points) for _, s in seen.told if s.coverage == "sampled")
    del seen.told[:]
    seen.store.update(tensor="large")
    qtbot.waitUntil(lambda: len(seen.told) > 0, timeout=20_000)
    assert sum(point.coverage == "exact" for point in seen.told[0][1].points) >= before
    seen.settle(qtbot)


def test_a_choice_that_changes_meanwhile_drops_what_is_on_its_way(qtbot, watch, file):
    seen = watch("formats", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    seen.told.clear()
    seen.store.update(tensor="large")
    qtbot.waitUntil(lambda: seen.preview.idle and not seen.surveys.idle)
    seen.store.update(tensor="b")
    seen.settle(qtbot)
    assert [survey.n for _, survey in seen.told] == [512]


def test_a_drag_begins_one_survey_when_it_rests(qtbot, watch, file, calls):
    seen = watch("observers", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    calls.clear()
    for bits in (2, 3, 5, 6, 7):
        seen.store.update(recipe=Recipe.of_weights(QuantSpec(formats[f"int{bits}"])), drag="bits")
        qtbot.waitUntil(
            lambda: seen.preview.analysis.spec == seen.store.state.recipe.every.weights and not seen.preview.busy
        )
    seen.settle(qtbot)
    assert len(calls) == 1
    assert seen.told[-1][1].points[0].spec.format.name == "int7"


def test_what_is_known_is_not_computed_again(qtbot, watch, file, calls):
    seen = watch("formats", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    seen.store.update(recipe=Recipe.of_weights(CHANNELS))
    seen.settle(qtbot)
    assert len(calls) == 2
    seen.store.undo()
    seen.settle(qtbot)
    seen.store.update(recipe=Recipe.of_weights(QuantSpec(formats["nf4"])))  # every other choice is the same
    seen.settle(qtbot)
    assert len(calls) == 2
    assert len(seen.told) == 3
    assert seen.told[0][1] is seen.told[2][1]


def test_a_choice_taken_back_at_once_is_shown_again(qtbot, watch, file):
    seen = watch("formats", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    outdated = []
    seen.surveys.outdated.connect(outdated.append)
    seen.store.update(recipe=Recipe.of_weights(CHANNELS))
    seen.store.undo()
    seen.settle(qtbot)
    qtbot.waitUntil(lambda: len(seen.told) == 2)
    assert outdated
    assert seen.told[0][1] is seen.told[1][1]


def test_a_tensor_that_cannot_be_had_and_back_again(qtbot, watch, file):
    seen = watch("formats", "observers", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    seen.store.update(tensor="steps")
    seen.settle(qtbot)
    assert seen.kinds == ["formats", "observers"]
    seen.store.undo()
    seen.settle(qtbot)
    assert seen.kinds == ["formats", "observers"] * 2


def test_a_survey_that_fails_is_told_once_and_does_not_hinder_the_others(qtbot, watch, file, monkeypatch):
    def broken(*_: object, **__: object) -> Iterator[object]:
        yield from ()
        raise RuntimeError("no luck")

    monkeypatch.setitem(KINDS, "formats", Kind("Broken", broken, lambda spec: spec))
    seen = watch("formats", "observers", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    assert seen.kinds == ["formats failed", "observers"]
    assert "no luck" in seen.told[0][1]


def test_another_file_is_surveyed_afresh(qtbot, watch, file, tmp_path):
    seen = watch("formats", path=file, tensor="a", recipe=Recipe.of_weights(INT4))
    save_file({"a": np.eye(4, dtype=np.float32)}, tmp_path / "two.safetensors")
    seen.preview.open(str(tmp_path / "two.safetensors"))
    qtbot.waitUntil(lambda: len(seen.told) == 2, timeout=20_000)
    assert [survey.n for _, survey in seen.told] == [512, 16]
