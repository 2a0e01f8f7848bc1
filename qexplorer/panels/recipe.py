"""Recipe: which layers are quantized how, and the repairs of the whole model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, WEIGHT_SPECS
from qexplorer.engine.repair import parse_repairs, repairs
from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.inspection.recipe_file import from_toml, read_recipe, to_toml
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.layer_columns import spec_text
from qexplorer.quant.recipe import FLOAT, FOLD, LayerSpec, Recipe, Rule, layer_of, parse_rule
from qexplorer.state.app_state import AppState
from qexplorer.text import printable
from qexplorer.widgets.controls import Button, LinkButton, caption
from qexplorer.widgets.lines import Column
from qexplorer.widgets.repair_ticks import RepairTicks
from qexplorer.widgets.save_dialog import ask_where
from qexplorer.widgets.table import Table
from qexplorer.widgets.tall_area import TallArea
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars

LAYERS, WEIGHTS, ACTIVATIONS = "Layers", "Weights", "Activations"
REST = "All others"
FILES = {"Recipe (*.toml)": "toml"}


@dataclass(frozen=True)
class RuleLine:
    """One rule, or the default, which has no pattern; `n` of the open file's weights follow it, None without a file."""

    number: int
    spec: LayerSpec
    rule: Rule | None = None
    n: int | None = None


def _layers(line: RuleLine) -> str:
    """What it is for, and how many weights of the open file follow it."""
    name = printable(line.rule.subject, 200) if line.rule else REST
    return name if line.n is None else f"{name} · {line.n:,}"


COLUMNS = (
    Column[RuleLine](LAYERS, "Names of layers; * stands for any characters, a kind stands in brackets. The first rule "
                     "that fits a layer decides. Behind the dot: how many weights of the open file follow it.",
                     "All others · 1,053", _layers, right=False,
                     edit=lambda line: line.rule.subject if line.rule else None),
    Column[RuleLine](WEIGHTS, "The spec of the weights, or float: kept as they are", "int4 channel ",
                     lambda line: spec_text(line.spec.weights), right=False,
                     edit=lambda line: spec_text(line.spec.weights), offers=WEIGHT_SPECS),
    Column[RuleLine](ACTIVATIONS, "The spec of what the layers read, or float", "Activations ",
                     lambda line: spec_text(line.spec.activations), right=False,
                     edit=lambda line: spec_text(line.spec.activations), offers=ACTIVATION_SPECS),
)  # fmt: skip


@panels.register
class RecipePanel(Panel):
    """The rules as a table that is edited in place, and the repairs as ticks."""

    name: ClassVar[str] = "recipe"
    title: ClassVar[str] = "Recipe"
    order: ClassVar[int] = 58
    places: ClassVar[tuple[Place, ...]] = (Place("quantize", 2, "jobs", height=24, yields=2, onto="jobs"),)
    previewed = Signal(str)  # the job that shows on one layer what the repairs do

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.table = Table[RuleLine]("Rules", COLUMNS, lambda line: line.number, height=7, margin=3)
        self.table.setEditTriggers(self.table.editTriggers() | self.table.EditTrigger.DoubleClicked)
        self.table.horizontalHeader().setStretchLastSection(False)
        self.table.horizontalHeader().setSectionResizeMode(0, self.table.horizontalHeader().ResizeMode.Stretch)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.lines.written.connect(self._on_written)
        self.table.lines_selected.connect(self._enable)
        self.ticks = RepairTicks(repairs)
        self.ticks.edited.connect(self._on_repairs)
        self.ticks.refused.connect(self._say)
        self._remark = caption("")
        self._remark.setWordWrap(True)
        self._remark.setMinimumHeight(self._remark.fontMetrics().height())
        self.buttons = {name: self._button(name, tip, slot) for name, tip, slot in (
            ("Add", "Add a rule for the selected tensor", self._on_add),
            ("Remove", "Remove the selected rule", self._on_remove),
            ("Up", "Try the selected rule earlier", lambda: self._on_move(-1)),
            ("Down", "Try the selected rule later", lambda: self._on_move(1)))}  # fmt: skip
        preview = LinkButton("Preview")
        preview.setObjectName("preview_repairs")
        preview.setAccessibleName("Preview the repairs")
        preview.setToolTip("Show what each repair does to one layer, before they are applied to all")
        preview.clicked.connect(lambda: self.previewed.emit("repair"))
        edit, head, inner = QHBoxLayout(), QHBoxLayout(), QVBoxLayout()
        for button in self.buttons.values():
            edit.addWidget(button)
        edit.addStretch()
        head.addWidget(caption("Repairs, in this order"), 1)
        head.addWidget(preview)
        inner.setContentsMargins(12, 0, 12, 8)
        inner.setSpacing(6)
        inner.addWidget(self.table, 1)
        inner.addLayout(edit)
        inner.addWidget(self._remark)
        inner.addLayout(head)
        area = TallArea(self.ticks)
        area.least = 4 * self.ticks.ticks[FOLD].sizeHint().height()
        inner.addWidget(area)
        self.body.addLayout(inner, 1)
        parts.store.changed.connect(self._on_changed)
        parts.preview.opened.connect(self._show)
        self._area = area
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        self._show()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.table.show_theme(theme)
        thin_scroll_bars(self._area, theme)

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        for name, tip, slot in (("Copy", "Copy the recipe as text", self.copy),
                                ("Paste", "Use the recipe on the clipboard", self.paste),
                                ("Load …", "Use the recipe of a file", self._on_load),
                                ("Save …", "Save the recipe as a TOML file", self._on_save)):  # fmt: skip
            link = LinkButton(name)
            link.setObjectName(f"recipe_{name.split()[0].lower()}")
            link.setAccessibleName(f"{name.removesuffix(' …')} the recipe")
            link.setToolTip(tip)
            link.clicked.connect(slot)
            row.addWidget(link)

    # -- what follows from the choice

    def _show(self) -> None:
        recipe, checkpoint = self.parts.store.state.recipe, self.parts.preview.checkpoint
        counts = dict.fromkeys([*recipe.rules, None], 0)
        weights = [] if checkpoint is None else [t for t in checkpoint.tensors if checkpoint.roles[t.name].weighs]
        for tensor in weights if recipe.rules else ():
            kind = self.parts.preview.kind_of(tensor.name) if recipe.asks_for_kinds else ""
            counts[recipe.rule_of(tensor.name, kind)] += 1
        counts[None] = counts[None] if recipe.rules else len(weights)
        known = counts if checkpoint is not None else {}
        lines = [RuleLine(i, rule.spec, rule, known.get(rule)) for i, rule in enumerate(recipe.rules)]
        self.table.lines.show_lines([*lines, RuleLine(len(lines), recipe.every, None, known.get(None))])
        self.ticks.show_text(recipe.repairs)
        self._enable()

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.recipe != old.recipe:
            self._say("")
            self._show()
        elif new.tensor != old.tensor:
            self._enable()

    def _enable(self) -> None:
        number, rules = self._selected, len(self.parts.store.state.recipe.rules)
        there = number is not None and number < rules
        self.buttons["Add"].setEnabled(bool(self.parts.store.state.tensor))
        self.buttons["Remove"].setEnabled(there)
        self.buttons["Up"].setEnabled(there and bool(number))
        self.buttons["Down"].setEnabled(there and number != rules - 1)

    @property
    def _selected(self) -> int | None:
        lines = self.table.selected_lines
        return lines[0].number if lines else None

    # -- what the person does

    def _on_written(self, line: RuleLine, column: str, text: str) -> None:
        """A cell was edited; what is not possible is said below the table, and the cell stays as it was."""
        try:
            self._put(self._edited(line, column, text))
        except UserError as error:
            self._say(str(error))

    def _edited(self, line: RuleLine, column: str, text: str) -> Recipe:
        recipe, spec = self.parts.store.state.recipe, line.spec
        if column == LAYERS and line.rule is not None:
            named = parse_rule(f"{text}={FLOAT}")
            rule = replace(line.rule, match=named.match, kind=named.kind)
        else:
            own = parse_rule(f"*={text} / {FLOAT}").spec.weights
            spec = replace(spec, weights=own) if column == WEIGHTS else replace(spec, activations=own)
            if line.rule is None:
                return replace(recipe, every=spec)
            rule = replace(line.rule, spec=spec)
        rules = recipe.rules
        return replace(recipe, rules=(*rules[: line.number], rule, *rules[line.number + 1 :]))

    def _put(self, recipe: Recipe) -> None:
        self._say("")
        self.parts.store.update(recipe=recipe)

    def _on_add(self) -> None:
        recipe, tensor = self.parts.store.state.recipe, self.parts.store.state.tensor
        spec = recipe.of(tensor, self.parts.preview.kind_of(tensor))
        rule = Rule(layer_of(tensor), spec)
        self._put(recipe.with_rule(rule))
        at = next(i for i, each in enumerate(self.parts.store.state.recipe.rules) if each.subject == rule.subject)
        self.table.select_keys([at])
        self.table.setFocus()

    def _on_remove(self) -> None:
        number = self._selected
        if number is not None:
            rules = self.parts.store.state.recipe.rules
            self._put(replace(self.parts.store.state.recipe, rules=(*rules[:number], *rules[number + 1 :])))

    def _on_move(self, by: int) -> None:
        number = self._selected
        if number is not None:
            rules = [*self.parts.store.state.recipe.rules]
            rules.insert(number + by, rules.pop(number))
            self._put(replace(self.parts.store.state.recipe, rules=tuple(rules)))
            self.table.select_keys([number + by])

    def _on_repairs(self, text: str) -> None:
        try:
            parse_repairs(text)
        except UserError as error:
            self._say(str(error))
            self.ticks.show_text(self.parts.store.state.recipe.repairs)
        else:
            self._put(replace(self.parts.store.state.recipe, repairs=text))

    def copy(self) -> None:
        """Put the recipe on the clipboard as text."""
        QGuiApplication.clipboard().setText(to_toml(self.parts.store.state.recipe))

    def paste(self) -> None:
        """Use the recipe that is on the clipboard as text."""
        self._take(lambda: from_toml(QGuiApplication.clipboard().text()))

    def _on_load(self) -> None:
        dialog = QFileDialog(self, "Load a recipe", filter=";;".join([*FILES, "All files (*)"]))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.load)
        dialog.open()

    def load(self, path: str) -> None:
        """Use the recipe of a file; what is wrong with it is said, and the recipe stays."""
        self._take(lambda: read_recipe(Path(path)))

    def _take(self, read: Callable[[], Recipe]) -> None:
        try:
            recipe = read()
            parse_repairs(recipe.repairs)
        except UserError as error:
            self._say(str(error))
        else:
            self._put(recipe)

    def _on_save(self) -> None:
        ask_where(self, "Save the recipe", FILES, self.save, "recipe")

    def save(self, path: str) -> None:
        """Write the recipe as a TOML file; a full disk is said below the table."""
        try:
            write_whole(Path(path), to_toml(self.parts.store.state.recipe).encode())
        except UserError as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        self._remark.setText(text)

    @staticmethod
    def _button(name: str, tip: str, slot: object) -> Button:
        button = Button(name)
        button.setObjectName(f"rule_{name.lower()}")
        button.setAccessibleName(f"{name} rule")
        button.setToolTip(tip)
        button.clicked.connect(slot)
        return button
