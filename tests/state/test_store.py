import pytest

from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.state.app_state import AppState
from qexplorer.state.store import DEPTH, Store

INT4 = QuantSpec.from_json({"format": "int4"})


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def changes(store: Store) -> list[tuple[AppState, AppState]]:
    seen: list[tuple[AppState, AppState]] = []
    store.changed.connect(lambda old, new: seen.append((old, new)))
    return seen


def clip(reach: float) -> QuantSpec:
    return QuantSpec(observer=Fixed(-reach, reach))


def test_a_change_is_told_with_the_state_before_and_after(store, changes):
    before = store.state
    store.update(tensor="conv")
    assert changes == [(before, store.state)]
    assert (before.tensor, store.state.tensor) == ("", "conv")


def test_equal_values_change_nothing_and_leave_no_entry(store, changes):
    store.update(recipe=Recipe.of_weights(QuantSpec()), tensor="", log_counts=False)
    store.move_to(AppState())
    store.replace_silently({"tensor": ""})
    assert not changes
    assert store.undo_text == ""


def test_undo_and_redo_walk_through_every_state_and_tell_of_each(store, changes):
    states = [store.state]
    for tensor in "abc":
        store.update(tensor=tensor)
        states.append(store.state)
    for expected in reversed(states[:-1]):
        store.undo()
        assert store.state == expected
    store.undo()
    assert store.state == states[0]
    for expected in states[1:]:
        store.redo()
        assert store.state == expected
    store.redo()
    assert store.state == states[-1]
    assert len(changes) == 9


def test_a_change_after_an_undo_forgets_what_could_be_redone(store):
    store.update(tensor="a")
    store.undo()
    store.update(tensor="b")
    assert store.redo_text == ""
    store.redo()
    assert store.state.tensor == "b"


def test_a_drag_is_one_entry_however_long_it_is(store, changes):
    for reach in (0.9, 0.8, 0.7, 0.6):
        store.update(recipe=Recipe.of_weights(clip(reach)), drag="clip")
    assert len(changes) == 4
    store.undo()
    assert store.state.recipe.every.weights == QuantSpec()
    store.redo()
    assert store.state.recipe.every.weights == clip(0.6)


def test_a_drag_that_ends_where_it_began_leaves_no_entry(store):
    store.update(tensor="a")
    for reach in (0.9, 0.8):
        store.update(recipe=Recipe.of_weights(clip(reach)), drag="clip")
    store.update(recipe=Recipe.of_weights(QuantSpec()), drag="clip")
    store.end_drag()
    store.undo()
    assert store.state == AppState()


def test_a_drag_that_passes_its_beginning_is_still_one_entry(store):
    for spec in (clip(0.9), QuantSpec(), clip(1.1), clip(1.2)):
        store.update(recipe=Recipe.of_weights(spec), drag="clip")
    store.undo()
    assert store.state == AppState()
    assert store.undo_text == ""


def test_two_drags_are_two_entries(store):
    store.update(recipe=Recipe.of_weights(clip(0.9)), drag="clip")
    store.end_drag()
    store.update(recipe=Recipe.of_weights(clip(0.8)), drag="clip")
    store.undo()
    assert store.state.recipe.every.weights == clip(0.9)


def test_another_change_or_an_undo_ends_a_drag(store):
    store.update(recipe=Recipe.of_weights(clip(0.9)), drag="clip")
    store.update(tensor="a")
    store.update(recipe=Recipe.of_weights(clip(0.8)), drag="clip")
    store.undo()
    assert (store.state.recipe.every.weights, store.state.tensor) == (clip(0.9), "a")
    store.update(recipe=Recipe.of_weights(clip(0.7)), drag="clip")
    store.undo()
    assert store.state.recipe.every.weights == clip(0.9)


def test_what_follows_from_a_choice_is_told_but_is_no_entry(store, changes):
    store.update(path="a.safetensors")
    store.replace_silently({"tensor": "first"})
    assert len(changes) == 2
    store.undo()
    assert store.state == AppState()


def test_only_so_many_changes_are_kept(store):
    for i in range(DEPTH + 20):
        store.update(tensor=str(i))
    undone = 0
    while store.undo_text:
        store.undo()
        undone += 1
    assert undone == DEPTH
    assert store.state.tensor == "19"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"path": "x.pt"}, "open file"),
        ({"log_counts": True}, "count axis"),
        ({"theme": "dark"}, "theme"),
        ({"recipe": Recipe.of_weights(INT4)}, "format int8 → int4"),
        ({"recipe": Recipe.of_weights(QuantSpec(observer=Fixed(-0.5, 0.5)))}, "observer minmax → fixed:-0.5,0.5"),
        ({"recipe": Recipe.of_weights(QuantSpec(scheme="affine"))}, "scheme symmetric → affine"),
        (
            {"recipe": Recipe.of_weights(QuantSpec.from_json({"granularity": "channel:1"}))},
            "granularity tensor → channel:1",
        ),
    ],
)
def test_the_undo_text_says_what_would_be_taken_back(store, change, text):
    assert (store.undo_text, store.redo_text) == ("", "")
    store.update(**change)
    assert (store.undo_text, store.redo_text) == (text, "")
    store.undo()
    assert (store.undo_text, store.redo_text) == ("", text)
