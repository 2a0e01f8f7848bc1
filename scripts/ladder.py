"""Print the accuracy ladder: FP32, W8A8 … W2, each repair, QAT, with 95 % intervals and times.

    python3 scripts/ladder.py --data FOLDER                       MobileNetV2 on a folder of MNIST files; trained first
    python3 scripts/ladder.py --data FOLDER --weights FILE …      with weights of one's own, of one training or several
    python3 scripts/ladder.py --quick                             the bundled sample and digits, without QAT

Runs in the environment of scripts/test.py, for hours. What is done is kept among the caches until everything is: the
same command goes on from there, as long as the program is the same.

One image in 1,500 is 0.07 points, and a rung is worth less than that where the float model is hardly hurt: what one
training says of the order of the rungs is chance. So MobileNetV2 is trained three times, from three seeds, and the mean
of the three ladders is judged. Exit code 0 when all bars hold that apply to it: int8 sizes, speed and accuracy, the
order of the rungs, repair, and QAT.
"""

import sys

if __name__ == "__main__":  # what is needed to the very end is asked for before anything is done
    from launch import require_python

    require_python(sys.version_info)
    from _inside import enter

    enter("test", "numpy", "torch", "safetensors")

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from qexplorer.engine.jobs import Job, jobs  # noqa: E402
from qexplorer.engine.jobs.record import recorded, resumed  # noqa: E402
from qexplorer.engine.measuring.evaluate import wilson_interval  # noqa: E402
from qexplorer.engine.runs.history import RESUMABLE, History  # noqa: E402
from qexplorer.engine.runs.results import Latency, Row, RunResult  # noqa: E402
from qexplorer.folders import cache_folder  # noqa: E402
from qexplorer.progress import finish  # noqa: E402
from qexplorer.settings import write  # noqa: E402

REPAIRED = "fold,cle,mse_clip,adaround:500,bias_correction"
W4, W3A8 = "int4 channel:0", {"weight_spec": "int3 channel:0", "activation_spec": "uint8 affine mse"}


@dataclass(frozen=True)
class Rung:
    """A row of the table: a run and which of its rows."""

    name: str
    job: str
    settings: dict[str, Any]
    row: int = 1


SIMULATED = (
    Rung("W8A8 per channel", "ptq-static", {"preset": "none", "weight_spec": "int8 channel:0",
                                            "activation_spec": "uint8 affine mse"}),
    Rung("W6 per channel", "weight-only", {"weight_spec": "int6 channel:0"}),
    Rung("W4 per tensor", "weight-only", {"weight_spec": "int4"}),
    Rung("W4 per channel", "weight-only", {"weight_spec": W4}),
    Rung("  + MSE clip", "weight-only", {"weight_spec": W4, "repairs": "fold,mse_clip"}),
    Rung("  + GPTQ", "weight-only", {"weight_spec": W4, "repairs": "fold,mse_clip,gptq"}),
    Rung("  + AdaRound", "weight-only", {"weight_spec": W4, "repairs": "fold,mse_clip,adaround:500"}),
    Rung("W4 groups of 32, HQQ", "weight-only", {"weight_spec": "int4 group:32", "repairs": "fold,hqq"}),
    Rung("NF4 groups of 64", "weight-only", {"weight_spec": "nf4 group:64"}),
    Rung("MXFP4", "weight-only", {"weight_spec": "mxfp4"}),
    Rung("W3A8 per channel", "ptq-static", {"preset": "none", **W3A8}),
    Rung("  + CLE, bias correction", "ptq-static", {"preset": "none", **W3A8, "repairs": "fold,cle,bias_correction"}),
    Rung("  + CLE, clip, AdaRound, bias", "ptq-static", {"preset": "none", **W3A8, "repairs": REPAIRED}),
    Rung("W2 per channel", "weight-only", {"weight_spec": "int2 channel:0"}),
    Rung("  + clip, AdaRound, bias", "weight-only", {"weight_spec": "int2 channel:0", "repairs": REPAIRED}),
)  # fmt: skip
FROM_REPAIRED = {"start": "ptq", "repairs": REPAIRED}
TRAINED = (
    Rung("QAT W3A8", "qat", {**W3A8, **FROM_REPAIRED}),
    Rung("QAT W4A4", "qat", {"weight_spec": W4, "activation_spec": "uint4 affine mse", **FROM_REPAIRED}),
)
REAL = (
    Rung("REAL int8 per tensor", "ptq-static", {"timing": "on", "calibration": 1024}),
    Rung("REAL int8 per channel", "", {}, 2),
)


@dataclass(frozen=True)
class Bar:
    """Something that has to hold; `holds` gets the rows by the names of their rungs."""

    text: str
    holds: Callable[[dict[str, Row]], bool]


def smaller(row: Row, fp32: Row) -> float:
    """How many times smaller the file is."""
    return fp32.bytes_on_disk / row.bytes_on_disk


def faster(row: Row, fp32: Row) -> float:
    """How many times faster a batch of 64 is."""
    return fp32.latency_ms["64"].median / row.latency_ms["64"].median


def within(name: str, points: float) -> Bar:
    """Top-1 at most so many points below the float model's."""
    return Bar(f"{name.strip()} within {points:g} points of FP32",
               lambda r: r["FP32"].top1 - r[name].top1 <= points / 100 + 1e-9)  # fmt: skip


def bars(*, trained: bool) -> list[Bar]:
    """All that apply."""
    tensor, channel = REAL[0].name, REAL[1].name
    found = [
        Bar("int8 per tensor at least 3.7 times smaller on disk", lambda r: smaller(r[tensor], r["FP32"]) >= 3.7),
        Bar("int8 per channel at least 3.4 times smaller on disk", lambda r: smaller(r[channel], r["FP32"]) >= 3.4),
        Bar("int8 at least twice as fast at batch 64, both",
            lambda r: min(faster(r[n], r["FP32"]) for n in (tensor, channel)) >= 2),
        within(tensor, 0.3),
        within(channel, 0.3),
        Bar("W4 per tensor < per channel < clipped",
            lambda r: r["W4 per tensor"].top1 < r["W4 per channel"].top1 < r["  + MSE clip"].top1),
        Bar("clipped ≤ the better of GPTQ and AdaRound",
            lambda r: r["  + MSE clip"].top1 <= max(r["  + GPTQ"].top1, r["  + AdaRound"].top1)),
        within("  + CLE, clip, AdaRound, bias", 1.0),
    ]  # fmt: skip
    return [*found, within("QAT W3A8", 0.7), within("QAT W4A4", 0.7)] if trained else found


@dataclass(frozen=True)
class Ladder:
    """The rows of one training and their seconds, by the names of their rungs."""

    rows: dict[str, Row]
    seconds: dict[str, float]


def line(name: str, row: Row, seconds: float, more: str = "") -> str:
    """A line of the table."""
    low, high = row.top1_ci95
    size = row.bytes_on_disk if row.kind == "REAL" else row.bytes_theoretical
    return (f"{name:<32}{row.kind:<11}{row.top1:8.2%}  [{low:6.2%}, {high:6.2%}]  {row.flips:5d} flips"
            f"  {size / 1e6:6.2f} MB  {seconds:6.1f} s{more}")  # fmt: skip


def result_of(job: Job, history: History) -> RunResult:
    """What a run of the job gives: one that is done is not run again, one that was interrupted is gone on with."""
    history.mark_interrupted()
    settings = json.loads(json.dumps(write(job)))
    for run in history.runs():
        if run.job == job.name and json.loads(run.config_json) == settings:
            if run.result_json:
                return RunResult.from_json(run.result_json)
            if run.status in RESUMABLE:
                return finish(resumed(run.run_id, history))
    return finish(recorded(job, history))


def climb(common: dict[str, Any], rungs: tuple[Rung, ...], history: History, say: Callable[[str], None]) -> Ladder:
    """Run the rungs and say their lines."""
    ladder = Ladder({}, {})
    result: RunResult | None = None

    def enter(name: str, row: Row, seconds: float) -> None:
        ladder.rows[name], ladder.seconds[name] = row, seconds
        say(line(name, row, seconds))

    for rung in rungs:
        if rung.job:
            result = result_of(jobs[rung.job](**{**common, **rung.settings}), history)
        assert result is not None  # noqa: S101  the first rung is a run
        if not ladder.rows:
            enter("FP32", result.rows[0], 0.0)
        enter(rung.name, result.rows[rung.row], result.seconds if rung.job else 0.0)
    return ladder


def mean_row(rows: list[Row]) -> Row:
    """What several trainings have on average; the larger file where they differ.

    The interval is that of one model: the images of the trainings are the same, so more of them do not narrow it.
    """
    n, first = rows[0].n, rows[0]
    right = sum(round(row.top1 * n) for row in rows) / len(rows)
    latency = {batch: mean_latency([row.latency_ms[batch] for row in rows]) for batch in first.latency_ms}
    return replace(first, top1=right / n, top1_ci95=wilson_interval(right, n), latency_ms=latency,
                   flips=round(fmean(row.flips for row in rows)),
                   bytes_on_disk=max(row.bytes_on_disk for row in rows))  # fmt: skip


def mean_latency(times: list[Latency]) -> Latency:
    """The mean of the medians and percentiles."""
    return Latency(fmean(t.median for t in times), fmean(t.p05 for t in times), fmean(t.p95 for t in times))


def mean_of(ladders: list[Ladder]) -> Ladder:
    """The mean of several trainings, rung by rung; seconds are those of all."""
    names = list(ladders[0].rows)
    return Ladder(
        {name: mean_row([ladder.rows[name] for ladder in ladders]) for name in names},
        {name: sum(ladder.seconds[name] for ladder in ladders) for name in names},
    )


def each_top1(ladders: list[Ladder], name: str) -> list[float]:
    """The top-1 of a rung by training, as fractions."""
    return [ladder.rows[name].top1 for ladder in ladders]


def trained(options: argparse.Namespace, seed: int, folder: Path) -> Path:
    """Weights of MobileNetV2 trained on the data set's training part, as make_samples.py does it."""
    import subprocess

    out = folder / f"mobilenet_v2_{seed}.safetensors"
    if out.exists():
        return out
    command = [sys.executable, str(ROOT / "scripts" / "make_samples.py"), "--model", "mobilenet_v2", "--out", str(out),
               "--seed", str(seed)]  # fmt: skip
    for name in ("data", "threads", *(["epochs"] if options.epochs else [])):
        command += [f"--{name}", str(getattr(options, name))]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return out


def trainings(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, int, str]]:
    """What each training is called, its seed, and its weights, “” for the bundled ones; it is done when asked for."""
    if options.weights:
        for path in options.weights:
            yield path, options.seed, path
    elif digits(options):
        yield "The bundled sample", options.seed, ""
    else:
        for seed in range(options.seed, options.seed + options.trainings):
            yield f"Training from seed {seed}", seed, str(trained(options, seed, folder))


def digits(options: argparse.Namespace) -> bool:
    """Whether the bundled sample and digits are asked for."""
    return options.quick or options.data == "digits"


def work_folder(options: argparse.Namespace) -> Path:
    """Where the steps of this very command are kept, made by these very sources."""
    key = hashlib.sha256(json.dumps(vars(options), default=str, sort_keys=True).encode())
    for source in sorted([*(ROOT / "qexplorer").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]):
        key.update(source.read_bytes())
    return cache_folder() / "ladder" / key.hexdigest()[:16]


def climb_all(options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> list[Ladder]:
    """A ladder for each training, whose steps are kept in `folder`."""
    common = {"model": "mobilenet_v2_digits" if digits(options) else "mobilenet_v2_mnist",
              "data": "digits" if digits(options) else options.data,
              "threads": options.threads, "timing": "off"}  # fmt: skip
    rungs = (*REAL, *SIMULATED)
    if not options.quick:
        epochs = {"epochs": options.qat_epochs}
        rungs += tuple(replace(rung, settings={**rung.settings, **epochs}) for rung in TRAINED)
    ladders: list[Ladder] = []
    history = History(folder / "history.sqlite3")
    for title, seed, weights in trainings(options, folder):
        say(f"{title}:")
        ladders.append(climb({**common, "weights": weights, "seed": seed}, rungs, history, say))
    return ladders


def document(ladders: list[Ladder], mean: Ladder, held: dict[str, bool]) -> dict[str, Any]:
    """What `--json` prints."""
    rows = [{"name": name.strip(), "kind": row.kind, "top1": row.top1, "top1_ci95": row.top1_ci95, "n": row.n,
             "top1_by_training": each_top1(ladders, name), "flips": row.flips, "bytes_on_disk": row.bytes_on_disk,
             "bytes_theoretical": row.bytes_theoretical, "seconds": mean.seconds[name]}
            for name, row in mean.rows.items()]  # fmt: skip
    return {"rows": rows, "bars": held}


def tell(ladders: list[Ladder], mean: Ladder, held: dict[str, bool]) -> None:
    """Print the mean, where there are several trainings, and the bars."""
    if len(ladders) > 1:
        print(f"Mean of {len(ladders)} trainings, and each:")
        for name, row in mean.rows.items():
            single = "".join(f"{top1:9.2%}" for top1 in each_top1(ladders, name))
            print(line(name, row, mean.seconds[name], f"  {single}"))
    for text, holds in held.items():
        print(f"{'holds ' if holds else 'MISSED'}  {text}")


def main() -> int:
    """Read the options, climb, print; 0 when all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a folder of MNIST files, or “digits”")
    parser.add_argument("--weights", nargs="+", help="files of weights of the model; without them, it is trained")
    parser.add_argument("--trainings", type=int, default=3, help="how many are made; default 3")
    parser.add_argument("--epochs", type=int, help="of each; default: those of make_samples.py")
    parser.add_argument("--qat-epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the first training and its runs; default 0")
    parser.add_argument("--quick", action="store_true", help="the bundled sample and digits, without QAT")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if options.trainings < 1:
        parser.error("--trainings: at least 1")
    folder = work_folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"What is done is kept in {folder} until everything is.", file=sys.stderr, flush=True)
    ladders = climb_all(options, folder, (lambda _: None) if options.json else partial(print, flush=True))
    mean = mean_of(ladders)
    held = {} if digits(options) else {bar.text: bar.holds(mean.rows) for bar in bars(trained=not options.quick)}
    if options.json:
        print(json.dumps(document(ladders, mean, held), indent=1))
    else:
        tell(ladders, mean, held)
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    from _inside import to_the_end

    sys.exit(to_the_end(main))
