"""Runs as a file to hand on: CSV for spreadsheets, HTML to read."""

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.results import Latency, Row, RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.text import cell

Results = Sequence[tuple[Run, RunResult]]
BATCHES = ("1", "64")
TIMES = tuple(f"batch{batch}_{what}" for batch in BATCHES for what in ("p05_ms", "p95_ms", "runs"))
FIRST = ("run", "job", "model", "data", "row", "kind", "engine", "top1", "top1_low", "top1_high", "top5", "n",
         "flips", "bytes_on_disk", "bytes_theoretical", "batch1_ms", "batch64_ms", "threads", "seed", "note",
         "notes", *TIMES)  # fmt: skip
LAST = ("calibration_n", "train_n", "weights_sha256", "data_sha256", "versions", "seconds")
TITLES = ("Model", "Kind", "Kernels", "Top-1", "95 % interval", "Top-5", "n", "Flips", "On disk", "Theoretical",
          *(f"Batch {batch} [5 % – 95 %]" for batch in BATCHES), "Threads", "Note")  # fmt: skip
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color:#1a1c1e}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}p{margin:.2rem 0;color:#555}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}.sim{color:#9a4b00}.real{color:#00613f}
@media(prefers-color-scheme:dark){body{background:#16181a;color:#e6e6e6}th,td{border-color:#333}p{color:#aaa}
.sim{color:#f0a35c}.real{color:#5fd0a0}}"""


def export(runs: Sequence[Run], path: Path) -> str:
    """Write finished runs to a `.csv` or `.html` file; a sentence on those that were left out as they cannot be read.

    Raises `UserError` for another ending, a disk that refuses, and where there is no result that can be read.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".html"):
        raise UserError(f"{path.name} is neither .csv nor .html.", "Choose one of these endings.", field="export")
    done, damaged = _read(runs)
    if not done and not damaged:
        raise UserError("None of these runs has a result.", "Choose runs that are done.", field="export")
    if not done:
        raise UserError(f"The results of {_count(damaged)} cannot be read.", "Choose other runs.", field="export")
    left_out = f"Left out, for their results cannot be read: {_count(damaged)}." if damaged else ""
    write_whole(path, (as_csv(done) if kind == ".csv" else as_html(done, left_out)).encode())
    return left_out


def _read(runs: Sequence[Run]) -> tuple[list[tuple[Run, RunResult]], list[str]]:
    """The runs with results, and the ids of those whose results cannot be read."""
    done: list[tuple[Run, RunResult]] = []
    damaged: list[str] = []
    for run in runs:
        if run.result_json is None:
            continue
        try:
            done.append((run, RunResult.from_json(run.result_json)))
        except UserError:
            damaged.append(run.run_id)
    return done, damaged


def _count(run_ids: Sequence[str]) -> str:
    return f"{len(run_ids)} {'run' if len(run_ids) == 1 else 'runs'} ({', '.join(run_ids)})"


def reported() -> tuple[str, ...]:
    """The settings that any job reports."""
    return tuple(dict.fromkeys(name for job in jobs for name in job.reported))


def as_csv(runs: Results) -> str:
    """One line a row of a run, accuracies as fractions."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = (*FIRST, *reported(), *LAST)
    writer.writerow(columns)
    for run, result in runs:
        for row in result.rows:
            cells = _cells(run, result, row)
            writer.writerow([cell(each) if isinstance(each := cells.get(name, ""), str) else each for name in columns])
    return buffer.getvalue()


def as_html(runs: Results, left_out: str = "") -> str:
    """A page of its own, without anything from elsewhere."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>qexplorer runs</title><style>{STYLE}</style>",
             "<h1>qexplorer runs</h1>", f"<p>{_text(left_out)}</p>" if left_out else ""]  # fmt: skip
    for run, result in runs:
        data = result.data
        there = "?" if data.train_n is None else data.train_n
        samples = f"calibrated on {data.calibration_n} of {there}, tested on {result.rows[0].n}"
        spec = ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in _settings(result).items() if text)
        parts += [
            f"<h2>{_text(result.job)} · {_text(result.model.name)} · {_text(data.name)}</h2>",
            f"<p>{_text(run.run_id)} · {_text(spec)} · seed {result.seed} · {result.seconds:.1f} s</p>",
            f"<p>Samples: {_text(samples)}</p>",
            f"<p>{_text(run.notes)}</p>" if run.notes else "",
            f"<table><tr>{''.join(f'<th>{title}' for title in TITLES)}</tr>",
            *(_html_row(row) for row in result.rows),
            f"</table><p>{_text(_versions(result))}</p>",
            f"<p>weights {_text(result.model.sha256)}</p><p>data {_text(data.sha256)}</p>",
        ]
    return "\n".join(parts)


def _html_row(row: Row) -> str:
    low, high = row.top1_ci95
    kind = f"<span class={'real' if row.kind == 'REAL' else 'sim'}>{row.kind}</span>"
    cells = [_text(row.name), kind, _text(row.engine), f"{row.top1:.2%}", f"{low:.2%} – {high:.2%}", f"{row.top5:.2%}",
             str(row.n), str(row.flips), f"{row.bytes_on_disk / 1e6:.2f} MB", f"{row.bytes_theoretical / 1e6:.2f} MB",
             *(_time(row.latency_ms.get(batch)) for batch in BATCHES), str(row.threads), _text(row.note)]  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells) + "</tr>"


def _time(ms: Latency | None) -> str:
    return "–" if ms is None else f"{ms.median:.2f} ms [{ms.p05:.2f} – {ms.p95:.2f}]"


def _settings(result: RunResult) -> dict[str, Any]:
    """Those that are reported and that the run has; repairs as they were understood."""
    found = {name: result.settings[name] for name in reported() if name in result.settings}
    return found | ({} if result.spec.repairs is None else {"repairs": ",".join(result.spec.repairs)})


def _versions(result: RunResult) -> str:
    return ", ".join(f"{name} {value}" for name, value in result.versions.items())


def _cells(run: Run, result: RunResult, row: Row) -> dict[str, object]:
    low, high = row.top1_ci95
    times: dict[str, object] = {}
    for batch, ms in row.latency_ms.items():
        own = {"ms": ms.median, "p05_ms": ms.p05, "p95_ms": ms.p95, "runs": ms.runs or ""}
        times |= {f"batch{batch}_{what}": value for what, value in own.items()}
    return {"run": run.run_id, "job": result.job, "model": result.model.name, "data": result.data.name,
            "row": row.name, "kind": row.kind, "engine": row.engine, "top1": row.top1, "top1_low": low,
            "top1_high": high, "top5": row.top5, "n": row.n, "flips": row.flips, "bytes_on_disk": row.bytes_on_disk,
            "bytes_theoretical": row.bytes_theoretical, "threads": row.threads, "seed": result.seed, "note": row.note,
            "notes": run.notes, **times, **_settings(result), "calibration_n": result.data.calibration_n,
            "train_n": "" if result.data.train_n is None else result.data.train_n,
            "weights_sha256": result.model.sha256,
            "data_sha256": result.data.sha256, "versions": _versions(result), "seconds": result.seconds}  # fmt: skip


def _text(value: object) -> str:
    return html.escape(str(value))
