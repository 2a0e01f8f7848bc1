"""Layers: what one or more specs do to every tensor of the file, and which tensors are hurt most."""

import math
from functools import partial
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.inspection.rows import Totals
from qexplorer.inspection.scan import Scan
from qexplorer.numbers import count, decibels, duration, size
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.layer_columns import ERROR_SHARE, Layer, columns_of
from qexplorer.quant.recipe import Recipe, parse_rule
from qexplorer.state.app_state import AppState
from qexplorer.state.layer_scan import MOST
from qexplorer.state.runner import Done, Failed
from qexplorer.text import printable
from qexplorer.weights import Checkpoint
from qexplorer.weights.roles import WEIGHTS
from qexplorer.widgets.controls import Button, caption
from qexplorer.widgets.elided import subject
from qexplorer.widgets.filter_field import NO_MATCH, FilterField, fitting
from qexplorer.widgets.growing_table import GrowingTable
from qexplorer.widgets.lines import NONE
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.save_dialog import ask_where
from qexplorer.widgets.spec_rows import SpecLine, SpecRows
from qexplorer.widgets.task_row import ThinBar
from qexplorer.widgets.theme import Theme

NOTHING = (
    "No layers yet",
    "Open weights to see what the scheme does to every tensor of the file, the worst first.",
)
START = "Press Scan to quantize every tensor as the scheme says; the worst come first."
LEAST = "features.12.conv"
"""Names have room for so many characters before the table is wider than its place."""
OUTDATED = "These figures are for the previous spec — Scan again."


@panels.register
class LayersPanel(Panel):
    """The specs that are compared with their totals, and a table of all tensors under them."""

    name: ClassVar[str] = "layers"
    title: ClassVar[str] = "Layers"
    order: ClassVar[int] = 26
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 1, "weights", height=18, folds=True, folded=True),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.layers, self._taken, self._in_sight = parts.layers, 0, True
        self._recipes: tuple[Recipe, ...] = ()
        self._marks: tuple[tuple[Recipe, ...], str, Scan | None, bool] = ((), "", None, False)
        self.specs = SpecRows()
        self._flagged = False
        self.table = GrowingTable[Layer](
            "Layers", columns_of((), "", None), lambda layer: layer.row.name, LEAST, tier=lambda layer: layer.tier
        )
        self._add_controls()
        self.body.addWidget(self.specs)
        self.body.addLayout(self._controls())
        self.body.addLayout(self._progress())
        self.body.addWidget(self._content(), 1)
        self.layers.restarted.connect(self._on_restarted)
        self.layers.grew.connect(self._on_grew)
        self.layers.changed.connect(self._show_state)
        self.layers.failed.connect(self._on_failed)
        self.layers.saved.connect(self._on_saved)
        model = self.table.model()
        for signal in (model.rowsInserted, model.rowsRemoved, model.modelReset):
            signal.connect(self._on_matches)
        parts.preview.opened.connect(self._on_opened)
        parts.preview.refused.connect(self._show_state)
        parts.store.changed.connect(self._on_changed)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        self._show_state()
        self._in_sight = False

    def _add_controls(self) -> None:
        self.filter, self.bar = FilterField("Filter layers", "the SQNR under the first spec"), ThinBar()
        self.filter.setObjectName("filter_layers")
        self.scan, self.pin, self.export = Button("Scan", primary=True), Button("Pin"), Button("Export CSV …")
        self.pin.setAccessibleName("Pin the current recipe")
        self.export.setAccessibleName("Export the layers as CSV")
        self.export.setToolTip("Save all figures of all tensors that were scanned as comma-separated values")
        self._line, self._quantize = subject(), Button("Quantize ▸")
        self._line.setObjectName("layers_line")
        self._quantize.setAccessibleName("Go to Quantize")
        self._quantize.setToolTip("Run a job on the model, and see its results (Ctrl+2)")
        self._quantize.clicked.connect(partial(self.parts.store.go_to, "quantize"))
        for signal in (self.layers.restarted, self.layers.grew, self.layers.changed):
            signal.connect(self._show_line)
        self.scan.clicked.connect(self._on_scan)
        self.pin.clicked.connect(self.layers.pin)
        self.export.clicked.connect(self._on_export)
        self.filter.textChanged.connect(self._on_filter)
        self.specs.removed.connect(self._on_removed)
        self.table.opened.connect(self._on_layer)
        self.table.lines.written.connect(self._on_written)

    def _controls(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(10, 4, 12, 0)
        row.setSpacing(8)
        row.addWidget(self.filter, 1)
        for button in (self.pin, self.export, self.scan):
            row.addWidget(button)
        return row

    def _progress(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(10)
        self._note, self._left = caption(""), caption("")
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(policy)
        row.addWidget(self._note)
        row.addWidget(self.bar, 1, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._left)
        return row

    def _content(self) -> QWidget:
        content = QWidget()
        margin = QVBoxLayout(content)
        margin.setContentsMargins(8, 0, 8, 4)
        place = QWidget()
        self._stack = QStackedLayout(place)
        self._empty = Placeholder(*NOTHING, "Open weights …")
        self._unmatched = Placeholder(*NO_MATCH)
        self._empty.pressed.connect(self.open_pressed)
        for widget in (self._empty, self.table, self._unmatched):
            self._stack.addWidget(widget)
        margin.addWidget(place)
        return content

    def show_in_sight(self, in_sight: bool) -> None:
        self._in_sight = in_sight
        self.layers.watch(in_sight)
        self._on_grew()
        self._show_state()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.table.show_theme(theme)

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addWidget(self._line, 1)
        row.addWidget(self._quantize)
        row.setContentsMargins(8, 0, 8, 0)

    # -- what follows from the scan

    def _show_line(self) -> None:
        """The whole file in a line, for those who do not look at the table."""
        layers, scan, checkpoint = self.layers, self.layers.scan, self.parts.preview.checkpoint
        current = layers.recipes[0]
        totals = dict(zip(scan.recipes, scan.totals, strict=True)).get(current) if scan is not None else None
        if checkpoint is None:
            self._line.clear()
        elif layers.running and scan is not None:
            self._line.setText(f"measuring {count(scan.done)} of {count(len(checkpoint.tensors))} tensors …")
        elif totals is None or not totals.done:
            self._line.setText("not scanned yet")
        else:
            size_, bits, sqnr, weights = self._figures(totals)
            self._line.setText(f"{weights} · {size_} · {bits} · {sqnr} under {title_of(current)}")

    def _on_restarted(self) -> None:
        scan, self._taken, self._flagged = self.layers.scan, 0, False
        if scan is not None:
            self.banner.clear()
        if scan is None or len(scan.recipes) != len(self._recipes):  # no line has figures of so many
            self.table.lines.show_lines(())
        self._recipes = self._recipes if scan is None else scan.recipes
        self._show_columns()
        if scan is not None and not self.table.isSortingEnabled():
            self.table.setSortingEnabled(True)
            groups = [column.group for column in self.table.lines.columns]
            self.table.sortByColumn(groups.index(ERROR_SHARE), Qt.SortOrder.DescendingOrder)

    def _show_columns(self) -> None:
        """Grey out what is not of the specs that are chosen, and mark the tensor that the other panels show."""
        fresh = None if self.layers.outdated else self.layers.scan
        tensor, flagged = self.parts.store.state.tensor, self._flagged
        before, self._marks = self._marks, (self._recipes, tensor, fresh, flagged)
        if before != self._marks:
            titles = [title_of(recipe) for recipe in self._recipes]
            self.table.show_columns(columns_of(titles, tensor, fresh, flagged=flagged))
        if before[-1] != flagged:
            self.table.show_widths()

    def _on_grew(self) -> None:
        scan = self.layers.scan
        if scan is None or not self._in_sight:
            return
        rows = scan.new_rows(self._taken)
        self._taken += len(rows)
        self._flagged = self._flagged or any(row.first for row in rows)
        self.table.put([Layer(row, scan) for row in rows])
        self.table.viewport().update()  # their shares of the whole have changed
        if not self.layers.running:
            self.table.put_in_order()
        self._show_state()

    def _on_matches(self) -> None:
        self._show_place()
        self._show_progress()

    def _on_failed(self, failed: Failed) -> None:
        self.banner.show_message(f"The scan stopped. {failed.message}", failed.details)

    def _show_state(self) -> None:
        """Say what there is, what is going on, and what can be done, as long as somebody can see it."""
        if not self._in_sight:
            return
        layers, scan = self.layers, self.layers.scan
        opened = self.parts.preview.checkpoint is not None
        again = scan is not None and (layers.outdated or scan.complete)
        self.scan.setText(
            "Stop" if layers.running else "Resume" if layers.resumable else "Scan again" if again else "Scan"
        )
        self.scan.setAccessibleName(f"{self.scan.text()}: all tensors under the compared specs")
        self.scan.setToolTip("Stop; what was found stays" if layers.running else START)
        self.scan.setEnabled(opened)
        self.scan.updateGeometry()
        current, *pinned = layers.recipes
        full = len(pinned) >= MOST
        self.pin.setEnabled(not full and current not in pinned)
        self.pin.setToolTip(
            f"{MOST} recipes are pinned: remove one first" if full
            else "It is pinned: change the scheme to compare another recipe with it" if not self.pin.isEnabled()
            else "Keep the current recipe as columns of its own, and go on to change the scheme beside it"
        )  # fmt: skip
        self.export.setEnabled(scan is not None and scan.done > 0)
        self._show_columns()
        self._show_specs()
        self._show_progress()
        self._show_place()

    def _show_specs(self) -> None:
        scan, recipes = self.layers.scan, self.layers.recipes
        totals = dict(zip(scan.recipes, scan.totals, strict=True)) if scan is not None else {}
        lines = [
            SpecLine(title_of(recipe), about(recipe), self._figures(totals.get(recipe)), pinned=i > 0)
            for i, recipe in enumerate(recipes)
        ]
        self.specs.show_lines(lines)

    def _figures(self, totals: Totals | None) -> tuple[str, str, str, str]:
        checkpoint = self.parts.preview.checkpoint
        if totals is None or checkpoint is None or not totals.done:
            return "", "", "", ""
        there = sum(checkpoint.by_role[role].tensors for role in WEIGHTS if role in checkpoint.by_role)
        measured = not math.isnan(totals.sqnr_db)
        return (
            size(totals.bytes),
            f"{totals.bits_per_weight:.2f} bits" if totals.n else NONE,
            f"{decibels(totals.sqnr_db)} dB" if measured else NONE,
            f"{count(totals.quantized)} of {count(there)} weights",
        )

    def _show_progress(self) -> None:
        layers, scan = self.layers, self.layers.scan
        self.bar.setVisible(layers.running)
        self.bar.show_share(layers.fraction or 0.0)
        left = layers.seconds_left
        self._left.setText(f"{duration(left)} left" if left is not None else "")
        where = f"{count(scan.done)} of {count(len(scan.checkpoint.tensors))} tensors" if scan is not None else ""
        there = f"Stopped after {where}." if layers.resumable else self._matches()
        self._note.setText(f"Measuring: {where}" if layers.running else OUTDATED if layers.outdated else there)
        self._note.setToolTip(
            "Greyed figures are for other specs; Scan measures all tensors under those above."
            if layers.outdated else ""
        )  # fmt: skip

    def _matches(self) -> str:
        rows, left = self.table.lines.rowCount(), self.table.model().rowCount()
        return (
            "" if not rows else f"{count(left)} of {count(rows)} tensors" if left < rows else f"{count(rows)} tensors"
        )

    def _show_place(self) -> None:
        """Show the table, or say why there is nothing in it."""
        checkpoint, table = self.parts.preview.checkpoint, self.table
        if table.lines.rowCount():
            self._stack.setCurrentWidget(table if table.model().rowCount() else self._unmatched)
            return
        if checkpoint is None:
            self._empty.show_text(*NOTHING)
        elif self.layers.running:
            self._empty.show_text("Measuring …", printable(checkpoint.path.name), button=False)
        else:
            self._empty.show_text("Not scanned yet", START, button=False)
        self._stack.setCurrentWidget(self._empty)

    # -- what the person does

    def _on_scan(self) -> None:
        if self.layers.running:
            self.layers.stop()
        else:
            self.layers.start()

    def _on_removed(self, row: int) -> None:
        self.layers.unpin(self.layers.recipes[row])

    def _on_layer(self, layer: Layer) -> None:
        self.parts.store.update(tensor=layer.row.name)
        self.parts.store.go_to("explore")

    def _on_written(self, layer: Layer, column: str, text: str) -> None:
        """Give the layer this spec, and all selected ones with it if it is one of them."""
        del column
        chosen = self.table.selected_lines
        layers = chosen if layer in chosen else (layer,)
        try:
            spec = parse_rule(f"*={text}").spec.weights
        except UserError as error:
            self.banner.show_message(str(error))
            return
        self.banner.clear()
        self.parts.rules.write_all([each.row.name for each in layers], spec)

    def _on_filter(self, text: str) -> None:
        self.table.show_fitting(fitting(text, first_sqnr, lambda layer: layer.marks))

    def _on_export(self) -> None:
        ask_where(self, "Export the layers", {"Comma-separated values (*.csv)": "csv"}, self.save)

    def save(self, path: str) -> None:
        """Write all figures as CSV; a full disk is said in the banner."""
        self.layers.save(Path(path))

    def _on_saved(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            self.banner.show_message(outcome.message, outcome.details)

    # -- what follows from the choice

    def _on_opened(self, checkpoint: Checkpoint) -> None:
        del checkpoint
        self.banner.clear()
        self._show_state()

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.tensor != old.tensor:
            self._show_columns()


def first_sqnr(layer: Layer) -> float | None:
    """What the filter compares."""
    return layer.row.figures[0].metrics.sqnr_db if layer.row.figures else None


def title_of(recipe: Recipe) -> str:
    """The default in a few words, with its observer where it is not the format's own, and how many rules there are."""
    spec, rules = recipe.every.weights, len(recipe.rules)
    title = "Kept as it is" if spec is None else spec.title
    if spec is not None and not spec.applies("observer") and spec.observer != spec.default("observer"):
        title += f" · {spec.observer.title}"
    return title + (f" · {rules} rule{'s' if rules > 1 else ''}" if rules else "")


def about(recipe: Recipe) -> str:
    """Every field of the default, then the rules, a line each."""
    spec = recipe.every.weights
    fields = spec.to_json() if spec else {}
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, *(printable(rule.text, 120) for rule in recipe.rules)])
