"""What a scan found, as a table for other programs."""

import csv
import io
import math
from collections.abc import Sequence

from qexplorer.inspection.rows import LayerRow, Totals
from qexplorer.quant import QuantSpec
from qexplorer.quant.metrics import METRICS
from qexplorer.quant.recipe import FLOAT, Recipe, Rule
from qexplorer.quant.remarks import ROUNDED
from qexplorer.text import cell, printable

NAME_LIMIT = 10_000
"""Longer names are shortened in their middle."""
READ = {metric.key: metric.read for metric in METRICS if metric.column or metric.header}
FIRST = ("sqnr_db", "error_share", "mse", "relative_rmse")
COLUMNS = (*FIRST, *(key for key in READ if key not in FIRST))
"""What `table` says of each recipe, after the spec; the letter of the recipe follows each title."""


def letter(spec: int) -> str:
    """How the recipe of that number is called in tables: A, B, C …"""
    return chr(ord("A") + spec)


def table(rows: Sequence[LayerRow], recipes: Sequence[Recipe]) -> tuple[list[str], list[list[str]]]:
    """Titles and lines, numbers in full with a decimal point; empty where there is no figure."""
    totals = [Totals() for _ in recipes]
    for row in rows:
        totals = [each.plus(row, figures) for each, figures in zip(totals, row.figures, strict=True)]
    of_specs = [f"{title}_{letter(i)}" for i in range(len(recipes)) for title in ("spec", *COLUMNS)]
    lines: list[list[str]] = []
    for row in rows:
        cells = [printable(row.name, NAME_LIMIT), row.role.name, " ".join(row.flags.names),
                 "×".join(map(str, row.shape)), row.dtype, str(row.n), str(row.original_bytes),
                 _text(row.share)]  # fmt: skip
        for total, figures, spec in zip(totals, row.figures, row.specs, strict=True):
            cells.append(spec.short if spec else FLOAT)
            share = total.error_share(row, figures)
            cells += [_text(share if title == "error_share" else READ[title](figures.metrics)) for title in COLUMNS]
        lines.append([*cells, _note(row)])
    return ["tensor", "role", "flags", "shape", "dtype", "values", "stored_bytes", "share", *of_specs, "note"], lines


def as_csv(rows: Sequence[LayerRow], recipes: Sequence[Recipe], subject: str) -> str:
    """The table as comma-separated values; comment lines say what it is of (`subject`) and what each letter means."""
    out = io.StringIO()
    comments = [*subject.splitlines(), f"{len(rows)} tensors, every value measured (exact)"]
    for i, recipe in enumerate(recipes):
        comments += [f"{letter(i)}: {line}" for line in (about(recipe.every.weights), *map(_rule, recipe.rules))]
    out.write("".join(f"# {line}\n" for line in comments))
    header, lines = table(rows, recipes)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(text) for text in line] for line in lines)
    return out.getvalue()


def about(spec: QuantSpec | None) -> str:
    """Every field of a spec."""
    return ", ".join(f"{name} {value}" for name, value in spec.to_json().items()) if spec else "kept as it is"


def _rule(rule: Rule) -> str:
    return f"{printable(rule.subject)} = {rule.spec.text}"


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _note(row: LayerRow) -> str:
    refusals = [f"{letter(i)}: {each.refusal}" for i, each in enumerate(row.figures) if each.refusal]
    tied = [f"tied to {printable(row.tied_to)}, counted there"] if row.tied_to else []
    rounded = [ROUNDED] if row.dtype == "float64" else []
    return "; ".join([row.trouble] if row.trouble else [*tied, *rounded, *refusals])
