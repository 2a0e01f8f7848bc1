import itertools
import time
from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from qexplorer.quant.flags import Flags
from qexplorer.widgets.tensor_model import NAME, SHAPE, SQNR, TYPE, VALUES, TensorRow, natural, split
from qexplorer.widgets.tensor_tree import TensorTree


def row(
    name: str, shape: tuple[int, ...] = (4, 4), dtype: str = "float32", shown: str = "", note: str = ""
) -> TensorRow:
    n = 1
    for dim in shape:
        n *= dim
    return TensorRow(name, shown or name, shape, dtype, n, note)


ROWS = [
    row("features.10.conv.weight", (64, 32, 3, 3)),
    row("features.10.conv.bias", (64,)),
    row("features.2.conv.weight", (2000, 1000), "bfloat16"),
    row("features.2.conv.bias", (2000,)),
    row("classifier.weight", (10, 64)),
    row("scale", ()),
]


@pytest.fixture
def tree(shown) -> TensorTree:
    tree = TensorTree()
    tree.names = []
    tree.chosen.connect(tree.names.append)
    tree.show_tensors(ROWS)
    return shown(tree, 420, 320)


def texts(tree: TensorTree, column: int = NAME) -> list[object]:
    """What the tree shows, groups as (name, members)."""
    model = tree.model()

    def below(parent):
        found = []
        for i in range(model.rowCount(parent)):
            index = model.index(i, column, parent)
            first = index.siblingAtColumn(0)
            found.append((index.data(), below(first)) if model.rowCount(first) else index.data())
        return found

    return below(tree.rootIndex())


def leaves(tree: TensorTree) -> set[str]:
    found = set()
    for each in texts(tree):
        found |= {f"{each[0]}.{leaf}" for leaf in each[1]} if isinstance(each, tuple) else {each}
    return found


def click(tree: TensorTree, name: str) -> None:
    index = tree.filter.mapFromSource(tree.tensors.index_of(name))
    tree.expandAll()
    tree.scrollTo(index)
    QTest.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.visualRect(index).center())


def test_the_models_keep_qt_s_rules_while_everything_changes(tree, qtmodeltester):
    qtmodeltester.check(tree.tensors)
    qtmodeltester.check(tree.filter)
    tree.tensors.show_sqnr("classifier.weight", 31.5)
    tree.show_filter("sqnr>30")
    tree.tensors.show_sqnr("features.2.conv.weight", 12.0)
    tree.tensors.clear_sqnr()
    tree.show_filter("")
    tree.sortByColumn(VALUES, Qt.SortOrder.DescendingOrder)
    tree.show_tensors(ROWS[:2])
    tree.show_tensors([])


def test_tensors_are_grouped_by_layer_and_sorted_as_people_count(tree):
    assert texts(tree) == [
        "classifier.weight",
        ("features.2", ["conv.bias", "conv.weight"]),
        ("features.10", ["conv.bias", "conv.weight"]),
        "scale",
    ]


def test_each_column_says_its_fact(tree):
    tree.tensors.show_sqnr("classifier.weight", 31.4159)
    first = tree.tensors.index_of("classifier.weight")
    line = [first.siblingAtColumn(column).data() for column in range(5)]
    assert line == ["classifier.weight", "10×64", "float32", "640", "31.4"]
    tip = tree.tensors.index_of("features.2.conv.weight").data(Qt.ItemDataRole.ToolTipRole)
    assert tip == "features.2.conv.weight\n2000×1000 bfloat16, 2,000,000 values"


@pytest.mark.parametrize(
    ("column", "first"),
    [(NAME, "classifier.weight"), (VALUES, "scale"), (SHAPE, "scale"), (TYPE, "classifier.weight")],
)
def test_every_column_sorts(tree, column, first):
    tree.sortByColumn(column, Qt.SortOrder.AscendingOrder)
    assert next(t for t in texts(tree) if isinstance(t, str)) == first
    tree.sortByColumn(column, Qt.SortOrder.DescendingOrder)
    assert len(leaves(tree)) == 6


def test_what_is_odd_is_marked_and_comes_first_and_what_is_no_weight_stands_back(shown):
    tree = shown(TensorTree(), 420, 320)
    roles = {"a.weight": "weight", "a.bias": "bias", "b.weight": "weight", "c.mean": "statistic", "d.w": "weight"}
    rows = [replace(row(name), role=role, reason="So.", weighs=role == "weight") for name, role in roles.items()]
    tree.show_tensors(rows)
    for name, db in (("a.weight", 20.0), ("a.bias", 3.0), ("b.weight", 30.0), ("c.mean", 1.0), ("d.w", 10.0)):
        tree.tensors.show_sqnr(name, db)
    tree.tensors.show_flags("b.weight", Flags(16, nan=2))
    tree.tensors.show_flags("a.bias", Flags(16, lo=0.0, hi=0.0))
    tree.sortByColumn(SQNR, Qt.SortOrder.AscendingOrder)
    assert texts(tree, SQNR) == ["NaN", "10.0", ("20.0", ["20.0", "3.0"]), "1.0"]  # a layer is as bad as its weights
    tip = tree.tensors.index_of("b.weight").data(Qt.ItemDataRole.ToolTipRole)
    assert tip.endswith("Role: weight. So.\n2 NaN")
    wanted = {"is:nan": {"b.weight"}, "is:flagged": {"a.bias", "b.weight"}, "is:other": {"a.bias", "c.mean"}}
    for words, left in (wanted | {"is:statistic": {"c.mean"}}).items():
        tree.show_filter(words)
        found = {name for name in roles if tree.filter.mapFromSource(tree.tensors.index_of(name)).isValid()}
        assert found == left
    tree.show_filter("")
    tree.grab()


def test_unknown_and_infinite_sqnr_sort_too(tree):
    tree.tensors.show_sqnr("classifier.weight", float("inf"))
    tree.tensors.show_sqnr("scale", float("-inf"))
    tree.sortByColumn(SQNR, Qt.SortOrder.DescendingOrder)
    assert [t for t in texts(tree) if isinstance(t, str)] == ["classifier.weight", "scale"]
    tree.grab()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", 6),
        ("conv", 4),
        ("CONV weight", 2),
        ("features.2 bias", 1),
        ("bfloat16", 1),
        (">1M", 1),
        (">1m", 1),
        ("<10k", 4),
        (">1.9k <2.1k", 1),
        ("<1", 1),
        ("<0", 0),
        (">=640 <=640", 1),
        ("features.*.weight", 2),
        (">600 conv.weight", 2),
        ("no such thing", 0),
        ("sqnr<15", 1),
        ("sqnr>15", 2),
        ("sqnr<-1", 0),
        ("sqnr>15 classifier", 1),
        ("sqnr", 0),
        ("sqnr<", 0),
        ("[(*", 0),
    ],
)
def test_the_filter_knows_words_and_comparisons(tree, words, expected):
    for name, db in (("classifier.weight", 31.0), ("scale", 14.9), ("features.2.conv.bias", 40.0)):
        tree.tensors.show_sqnr(name, db)
    tree.show_filter(words)
    assert len(leaves(tree)) == expected


def test_a_filter_by_sqnr_follows_the_figures_as_they_come(tree):
    tree.show_filter("sqnr<15")
    assert texts(tree) == []
    tree.tensors.show_sqnr("features.10.conv.weight", 9.0)
    assert texts(tree) == [("features.10", ["conv.weight"])]
    tree.tensors.clear_sqnr()
    assert texts(tree) == []


def test_a_click_on_a_tensor_names_it_and_one_on_a_layer_does_not(tree):
    click(tree, "features.2.conv.weight")
    assert tree.names == ["features.2.conv.weight"]
    group = tree.model().index(2, 0)
    QTest.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.visualRect(group).center())
    assert tree.names == ["features.2.conv.weight"]


def test_the_arrow_keys_walk_through_the_tensors(tree):
    click(tree, "classifier.weight")
    for _ in range(3):
        QTest.keyClick(tree, Qt.Key.Key_Down)
    assert tree.names == ["classifier.weight", "features.2.conv.bias", "features.2.conv.weight"]


def test_showing_the_chosen_tensor_tells_nobody_and_brings_it_into_view(tree):
    tree.show_chosen("features.10.conv.bias")
    assert tree.names == []
    assert tree.currentIndex().data() == "conv.bias"
    assert tree.isExpanded(tree.currentIndex().parent())
    tree.show_chosen("no such tensor")


def test_filtering_the_chosen_tensor_out_chooses_no_other_one(tree):
    click(tree, "features.2.conv.weight")
    tree.show_filter("bias")
    assert tree.names == ["features.2.conv.weight"]
    assert not tree.currentIndex().isValid()
    click(tree, "features.2.conv.bias")
    assert tree.names == ["features.2.conv.weight", "features.2.conv.bias"]


def test_the_chosen_tensor_is_marked_again_when_the_filter_goes(tree):
    click(tree, "features.2.conv.weight")
    tree.show_filter("scale")
    tree.show_filter("")
    assert tree.names == ["features.2.conv.weight"]
    assert tree.currentIndex().data() == "conv.weight"
    assert tree.currentIndex().parent().data() == "features.2"


def test_figures_that_move_the_chosen_tensor_out_of_the_filter_choose_no_other_one(tree):
    for name in ("classifier.weight", "scale"):
        tree.tensors.show_sqnr(name, 10.0)
    tree.show_filter("sqnr<15")
    click(tree, "classifier.weight")
    tree.tensors.show_sqnr("classifier.weight", 40.0)
    assert tree.names == ["classifier.weight"]
    assert leaves(tree) == {"scale"}


@pytest.mark.parametrize(
    "name",
    [
        "<b>bold</b><img src=x>",
        "²",
        "٣.weight",
        ".",
        "..",
        "a..b",
        "a.",
        ".a",
        " ",
        "1" * 300,
        "é\u202e.w",
        "x" * 5000,
        "{0}%s",
    ],
)
def test_hostile_names_are_shown_as_they_are(shown, name):
    tree = shown(TensorTree())
    tree.show_tensors([row(name), row("other.weight"), row("²²"), row("a1²")])
    tree.expandAll()
    tree.grab()
    tree.show_filter("other")
    tree.show_filter("")
    model = tree.tensors
    index = model.index_of(name)
    above = model.parent(index)
    whole = f"{above.data()}.{index.data()}" if above.isValid() else index.data()
    assert name in (whole, index.data())
    assert "<" not in index.data(Qt.ItemDataRole.ToolTipRole)


def test_a_note_is_part_of_the_tooltip(tree):
    tree.show_tensors([row("w", note="The type is not supported.")])
    assert "not supported" in tree.tensors.index_of("w").data(Qt.ItemDataRole.ToolTipRole)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("model.layers.3.mlp.up.weight", ("model.layers.3", "mlp.up.weight")),
        ("features.12.conv.0.0.weight", ("features.12", "conv.0.0.weight")),
        ("classifier.weight", ("classifier", "weight")),
        ("scale", ("scale", "scale")),
        ("0.weight", ("0", "weight")),
        ("layer1.0.bn.bias", ("layer1.0", "bn.bias")),
        ("", ("", "")),
    ],
)
def test_a_name_splits_after_its_layer(name, parts):
    assert split(name) == parts


def test_names_sort_as_people_count():
    names = ["b.10", "b.9", "b", "a.2", "a.10", "a.1b", "²", "a²"]
    assert sorted(names, key=natural) == ["a.1b", "a.2", "a.10", "a²", "b", "b.9", "b.10", "²"]


def test_a_hundred_thousand_tensors_take_seconds(shown):
    tree = shown(TensorTree())
    rows = [row(f"layers.{i // 10}.w{i % 10}") for i in range(100_000)]
    began = time.process_time()
    tree.show_tensors(rows)
    tree.show_filter("w3 layers.99")
    assert len(leaves(tree)) == 111
    tree.show_filter("")
    tree.show_chosen("layers.777.w7")
    assert time.process_time() - began < 15


def test_columns_can_be_shown_and_hidden_from_the_header(tree, qtbot):
    from PySide6.QtWidgets import QMenu

    assert tree.header().isSectionHidden(TYPE)
    tree.header().customContextMenuRequested.emit(QPoint(5, 5))
    menu = tree.findChild(QMenu)
    actions = {action.text(): action for action in menu.actions()}
    assert list(actions) == ["Shape", "Type", "Values", "SQNR"]
    actions["Type"].trigger()
    actions["Shape"].trigger()
    menu.close()
    assert (tree.header().isSectionHidden(TYPE), tree.header().isSectionHidden(SHAPE)) == (False, True)


def test_sqnr_is_drawn_as_a_bar_in_three_colours(tree, themes):
    pictures = []
    for db in (10.0, 20.0, 30.0, float("inf"), float("-inf")):
        tree.tensors.show_sqnr("classifier.weight", db)
        pictures.append(tree.grab().toImage())
    assert all(a != b for a, b in itertools.pairwise(pictures))
    tree.tensors.show_sqnr("classifier.weight", 30.0)
    tree.tensors.show_lost("classifier.weight")  # a good SQNR, but all values on one code
    assert tree.grab().toImage() != pictures[2]
    tree.tensors.show_sqnr("classifier.weight", 30.0)
    assert tree.grab().toImage() == pictures[2]


def test_reaching_the_tree_with_the_tab_key_chooses_nothing_and_the_down_key_chooses_the_first(tree):
    tree.clearFocus()
    tree.setFocus(Qt.FocusReason.TabFocusReason)
    assert tree.names == []
    QTest.keyClick(tree, Qt.Key.Key_Down)
    assert tree.names == ["classifier.weight"]
