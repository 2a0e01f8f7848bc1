"""Runs as a file to hand on: CSV for spreadsheets, HTML to read."""

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path

from qexplorer.engine.artifacts import write_whole
from qexplorer.engine.history import Run
from qexplorer.engine.results import Row, RunResult
from qexplorer.errors import UserError

COLUMNS = ("run", "job", "model", "data", "row", "kind", "engine", "top1", "top1_low", "top1_high", "top5", "n",
           "flips", "bytes_on_disk", "bytes_theoretical", "batch1_ms", "batch64_ms", "threads", "seed", "note",
           "notes")  # fmt: skip
TITLES = ("Model", "Kind", "Top-1", "95 % interval", "Top-5", "Flips", "On disk", "Theoretical", "Batch 1", "Batch 64",
          "Note")  # fmt: skip
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1a1c1e}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}p{margin:.2rem 0;color:#555}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}.sim{color:#9a4b00}.real{color:#00613f}
@media(prefers-color-scheme:dark){body{background:#16181a;color:#e6e6e6}th,td{border-color:#333}p{color:#aaa}
.sim{color:#f0a35c}.real{color:#5fd0a0}}"""


def export(runs: Sequence[Run], path: Path) -> None:
    """Write finished runs to a `.csv` or `.html` file. Raises `UserError` for another ending or a disk that refuses."""
    done = [(run, RunResult.from_json(run.result_json)) for run in runs if run.result_json is not None]
    kinds = {".csv": as_csv, ".html": as_html}
    if path.suffix.lower() not in kinds:
        raise UserError(f"{path.name} is neither .csv nor .html.", "Choose one of these endings.", field="export")
    if not done:
        raise UserError("None of these runs has a result.", "Choose runs that are done.", field="export")
    write_whole(path, kinds[path.suffix.lower()](done).encode())


def as_csv(runs: Sequence[tuple[Run, RunResult]]) -> str:
    """One line a row of a run, accuracies as fractions."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run, result in runs:
        for row in result.rows:
            cells = _cells(run, result, row)
            writer.writerow([_harmless(cells[name]) for name in COLUMNS])
    return buffer.getvalue()


def as_html(runs: Sequence[tuple[Run, RunResult]]) -> str:
    """A page of its own, without anything from elsewhere."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>qexplorer runs</title><style>{STYLE}</style>",
             "<h1>qexplorer runs</h1>"]  # fmt: skip
    for run, result in runs:
        facts = ", ".join(f"{k} {v}" for k, v in result.versions.items())
        spec = ", ".join(f"{k} {result.spec[k]}" for k in ("weight_spec", "activation_spec", "repairs", "preset")
                         if result.spec.get(k))  # fmt: skip
        parts += [
            f"<h2>{_text(result.job)} · {_text(result.model['name'])} · {_text(result.data['name'])}</h2>",
            f"<p>{_text(result.run_id)} · {_text(spec)} · seed {result.seed} · {result.seconds:.1f} s</p>",
            f"<p>{_text(run.notes)}</p>" if run.notes else "",
            f"<table><tr>{''.join(f'<th>{title}' for title in TITLES)}</tr>",
            *(_html_row(row) for row in result.rows),
            f"</table><p>{_text(facts)}; weights {_text(result.model['sha256'][:12])}</p>",
            f"<p>data {_text(result.data['sha256'][:12])}</p>",
        ]
    return "\n".join(parts)


def _html_row(row: Row) -> str:
    low, high = row.top1_ci95
    times = [f"{row.latency_ms[b]['median']:.2f} ms" if b in row.latency_ms else "–" for b in ("1", "64")]
    kind = f"<span class={'real' if row.kind == 'REAL' else 'sim'}>{row.kind}</span>"
    cells = [_text(row.name), kind, f"{row.top1:.2%}", f"{low:.2%} – {high:.2%}", f"{row.top5:.2%}", str(row.flips),
             f"{row.bytes_on_disk / 1e6:.2f} MB", f"{row.bytes_theoretical / 1e6:.2f} MB", *times,
             _text(row.note)]  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells) + "</tr>"


def _cells(run: Run, result: RunResult, row: Row) -> dict[str, object]:
    medians = {b: row.latency_ms[b]["median"] if b in row.latency_ms else "" for b in ("1", "64")}
    low, high = row.top1_ci95
    return {"run": run.run_id, "job": result.job, "model": result.model["name"], "data": result.data["name"],
            "row": row.name, "kind": row.kind, "engine": row.engine, "top1": row.top1, "top1_low": low,
            "top1_high": high, "top5": row.top5, "n": row.n, "flips": row.flips, "bytes_on_disk": row.bytes_on_disk,
            "bytes_theoretical": row.bytes_theoretical, "batch1_ms": medians["1"], "batch64_ms": medians["64"],
            "threads": row.threads, "seed": result.seed, "note": row.note, "notes": run.notes}  # fmt: skip


def _harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _text(value: object) -> str:
    return html.escape(str(value))
