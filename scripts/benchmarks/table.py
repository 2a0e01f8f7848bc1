"""The figures as text: a line each, then which bars hold, and by how much the others miss."""

from collections.abc import Sequence

from .figures import Failure, Figure
from .quiet import NOTICEABLE

COLUMNS = ("name", "ours", "peer", "ratio", "limit", "over limit", "runs")


def table(rows: Sequence[Figure | Failure], quick: bool) -> str:
    """The whole answer for a person."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = [_line(row, widths) for row in cells]
    figures = [row for row in rows if isinstance(row, Figure)]
    notes = [note for figure in figures for note in _notes(figure)]
    title = ["quick: not the bars", ""] if quick else []
    failures = [row for row in rows if isinstance(row, Failure)]
    return "\n".join([*title, *lines, "", *notes, *_verdicts(figures, failures)])


def line(row: Figure | Failure) -> str:
    """One row by itself."""
    if isinstance(row, Failure):
        return f"{row.name}: not measured: {row.error}"
    figures = zip(COLUMNS[1:], _cells(row)[1:], strict=True)
    return f"{row.name}: {', '.join(f'{title} {cell}' for title, cell in figures)}"


def seconds(s: float) -> str:
    """A duration with three digits."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if s * factor >= 1:
            return f"{s * factor:.3g} {unit}"
    return f"{s * 1e6:.3g} µs"


def _cells(figure: Figure | Failure) -> tuple[str, ...]:
    if isinstance(figure, Failure):
        return (figure.name, "failed", *[""] * (len(COLUMNS) - 2))
    return (
        figure.name,
        seconds(figure.ours_s),
        seconds(figure.peer_s),
        f"{figure.peer_s / figure.ours_s:.2f}",
        seconds(figure.limit_s),
        f"{figure.ours_s / figure.limit_s:.2f}",
        str(figure.runs),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]).rstrip()


def _notes(figure: Figure) -> list[str]:
    note = [f"  {figure.note}"] if figure.note else []
    busy = figure.others is not None and figure.others > NOTICEABLE
    others = [f"  not to be trusted: other programs used {figure.others:.0%} of the cores"] if busy else []
    return [f"{figure.name}: {figure.work}", f"  peer: {figure.peer}; limit: {figure.limit}", *note, *others, ""]


def _verdicts(figures: Sequence[Figure], failures: Sequence[Failure]) -> list[str]:
    held = [f"  {f.name}: {bar.text}, by {bar.by:.2f}x" for f in figures for bar in f.bars if bar.holds]
    missed = [f"  {f.name}: {bar.text}, by {1 / bar.by:.2f}x" for f in figures for bar in f.bars if not bar.holds]
    failed = ["Not measured:", *(f"  {failure.name}: {failure.error}" for failure in failures)] if failures else []
    return ["Bars that hold:", *(held or ["  none"]), "Bars that are missed:", *(missed or ["  none"]), *failed]
