"""Print the accuracy ladder: FP32, W8A8 … W2, each repair, QAT, with 95 % intervals and times.

    python scripts/ladder.py --data FOLDER                     MobileNetV2 on a folder of MNIST files; trained first
    python scripts/ladder.py --data FOLDER --weights FILE      with weights of one's own
    python scripts/ladder.py --quick                           the bundled sample and digits, without QAT

Exit code 0 when all bars hold that apply: int8 sizes and accuracy, the order of the rungs, repair, and QAT.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from qexplorer.engine.jobs import jobs  # noqa: E402
from qexplorer.engine.results import Row, RunResult  # noqa: E402
from qexplorer.progress import finish  # noqa: E402

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
TRAINED = (
    Rung("QAT W3A8", "qat", {"weight_spec": "int3 channel:0 mse", "activation_spec": "uint8 affine mse"}),
    Rung("QAT W4A4", "qat", {"weight_spec": "int4 channel:0 mse", "activation_spec": "uint4 affine mse"}),
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
    return fp32.latency_ms["64"]["median"] / row.latency_ms["64"]["median"]


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


def line(name: str, row: Row, seconds: float) -> str:
    """A line of the table."""
    low, high = row.top1_ci95
    size = row.bytes_on_disk if row.kind == "REAL" else row.bytes_theoretical
    return (f"{name:<32}{row.kind:<11}{row.top1:8.2%}  [{low:6.2%}, {high:6.2%}]  {row.flips:5d} flips"
            f"  {size / 1e6:6.2f} MB  {seconds:6.1f} s")  # fmt: skip


def climb(common: dict[str, Any], rungs: tuple[Rung, ...], *, quiet: bool) -> tuple[dict[str, Row], dict[str, float]]:
    """Run the rungs and print their lines; the rows and seconds by name."""
    rows: dict[str, Row] = {}
    seconds: dict[str, float] = {}
    result: RunResult | None = None
    for rung in rungs:
        began = time.perf_counter()
        if rung.job:
            result = finish(jobs[rung.job](**{**common, **rung.settings}).run())
        assert result is not None  # noqa: S101  the first rung is a run
        rows[rung.name], seconds[rung.name] = result.rows[rung.row], time.perf_counter() - began
        if "FP32" not in rows:
            rows["FP32"], seconds["FP32"] = result.rows[0], 0.0
            if not quiet:
                print(line("FP32", rows["FP32"], 0.0), flush=True)
        if not quiet:
            print(line(rung.name, rows[rung.name], seconds[rung.name]), flush=True)
    return rows, seconds


def trained_weights(data: str, folder: Path, epochs: int, threads: int) -> Path:
    """Weights of MobileNetV2 trained on the data set's training part."""
    import subprocess

    out = folder / "mobilenet_v2.safetensors"
    command = [sys.executable, str(ROOT / "scripts" / "make_samples.py"), "--data", data, "--out", str(out),
               "--epochs", str(epochs), "--threads", str(threads), "--model", "mobilenet_v2"]  # fmt: skip
    subprocess.run(command, check=True, stdout=sys.stderr)
    return out


def main() -> int:
    """Read the options, climb, print; 0 when all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a folder of MNIST files, or “digits”")
    parser.add_argument("--weights", default="", help="a file of weights of the model; without it, it is trained")
    parser.add_argument("--epochs", type=int, default=12, help="of that training; default 12")
    parser.add_argument("--qat-epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the bundled sample and digits, without QAT")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    digits = options.quick or options.data == "digits"
    with tempfile.TemporaryDirectory(prefix="qexplorer-") as folder:
        model = "mobilenet_v2_digits" if digits else "mobilenet_v2_mnist"
        weights = options.weights
        if not weights and not digits:
            weights = str(trained_weights(options.data, Path(folder), options.epochs, options.threads))
        common = {"model": model, "weights": weights, "data": "digits" if digits else options.data,
                  "threads": options.threads, "seed": options.seed, "timing": "off"}  # fmt: skip
        rungs = (*REAL, *SIMULATED)
        if not options.quick:
            epochs = {"epochs": options.qat_epochs}
            rungs += tuple(Rung(r.name, r.job, {**r.settings, **epochs}) for r in TRAINED)
        rows, seconds = climb(common, rungs, quiet=options.json)
    held = {bar.text: bar.holds(rows) for bar in bars(trained=not options.quick)} if not digits else {}
    if options.json:
        table = [{"name": name.strip(), "kind": row.kind, "top1": row.top1, "top1_ci95": row.top1_ci95, "n": row.n,
                  "flips": row.flips, "bytes_on_disk": row.bytes_on_disk, "bytes_theoretical": row.bytes_theoretical,
                  "seconds": seconds[name]} for name, row in rows.items()]  # fmt: skip
        print(json.dumps({"rows": table, "bars": held}, indent=1))
    for text, holds in {} if options.json else held.items():
        print(f"{'holds ' if holds else 'MISSED'}  {text}")
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
