"""The command line, run as a person runs it."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from qexplorer.cli import main
from qexplorer.engine.runs.history import History
from qexplorer.resources import resource

SAMPLE = str(resource("mobilenet_v2_digits.safetensors"))
CONV = "features.12.conv.0.0.weight"


def qexplorer(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qexplorer", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def conv() -> np.ndarray:
    from qexplorer.progress import finish
    from qexplorer.weights import open_checkpoint

    checkpoint = finish(open_checkpoint(SAMPLE))
    return checkpoint.read(checkpoint.tensor(CONV))


def run_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_version_and_help_answer_without_loading_numpy_qt_or_torch() -> None:
    code = (
        "import sys; from qexplorer.cli import main\n"
        "try: main([sys.argv[1]])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'PySide6', 'torch', 'numba') if m in sys.modules])"
    )
    for word in ("--version", "--help"):
        out = subprocess.run(
            [sys.executable, "-c", code, word], capture_output=True, text=True, timeout=60, check=False
        ).stdout
        assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["list", SAMPLE], ["formats"], ["analyze", SAMPLE, "--tensor", CONV], ["runs"]])
def test_headless_commands_load_neither_torch_nor_qt(words: list[str]) -> None:
    code = (
        "import sys; from qexplorer.cli import main; main(sys.argv[1:]); "
        "print([m for m in ('PySide6', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert out.stdout.splitlines()[-1] == "[]", out.stderr


def test_list_names_every_tensor_with_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "list", SAMPLE, "--json")
    by_name = {t["name"]: t for t in document["tensors"]}
    assert by_name[CONV]["shape"] == [576, 96, 1, 1]
    assert by_name[CONV]["dtype"] == "float32"
    assert by_name[CONV]["bytes"] == 4 * by_name[CONV]["params"] == 4 * 576 * 96
    learned = {"weight", "bias", "norm"}
    assert document["totals"]["params"] == sum(t["params"] for t in document["tensors"] if t["role"] in learned)
    assert main(["list", SAMPLE]) == 0
    assert CONV in capsys.readouterr().out


def test_analyze_json_has_the_promised_keys_and_torchs_figures(
    capsys: pytest.CaptureFixture[str], conv: np.ndarray
) -> None:
    document = run_json(capsys, "analyze", SAMPLE, "--tensor", CONV, "--format", "int8", "--scheme", "symmetric",
                        "--granularity", "channel:0", "--observer", "minmax", "--json")  # fmt: skip
    (tensor,) = document["tensors"]
    assert {"name", "shape", "dtype", "n", "spec", "coverage", "coverage_n", "scale", "zero_point", "range",
            "metrics"} <= set(tensor)  # fmt: skip
    assert set(tensor["metrics"]) == {
        "mse", "rmse", "mae", "max_abs_error", "sqnr_db", "cosine", "relative_rmse", "clipped_fraction",
        "original_sparsity", "sparsity", "code_utilization", "code_entropy_bits", "top_code_fraction",
        "bits_per_weight", "bytes", "original_bytes",
    }  # fmt: skip
    assert set(document["totals"]) == {"params", "original_bytes", "bytes", "sqnr_db"}
    x = torch.from_numpy(conv.copy())
    scale = x.flatten(1).abs().amax(1) / 127
    y = torch.fake_quantize_per_channel_affine(x, scale, torch.zeros(576, dtype=torch.int32), 0, -127, 127)
    error = (y - x).double()
    assert tensor["scale"] == {"n": 576, "min": scale.min().item(), "max": scale.max().item()}
    assert tensor["zero_point"] is None
    assert tensor["coverage"] == "exact"
    assert tensor["metrics"]["mse"] == pytest.approx(error.square().mean().item(), rel=1e-12)
    sqnr = 10 * torch.log10(x.double().square().sum() / error.square().sum()).item()
    assert tensor["metrics"]["sqnr_db"] == pytest.approx(sqnr, rel=1e-12)
    assert document["totals"]["sqnr_db"] == pytest.approx(sqnr, rel=1e-12)


def test_analyze_writes_arrays_that_give_the_tensor_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, conv: np.ndarray
) -> None:
    names = ("dequantized", "codes", "scale", "zero-point")
    options = [word for name in names for word in (f"--{name}", str(tmp_path / f"{name}.npy"))]
    assert main(["analyze", SAMPLE, "--tensor", CONV, "--format", "uint4", "--scheme", "affine",
                 "--granularity", "channel:0", *options]) == 0  # fmt: skip
    dequantized, codes, scale, zero = (np.load(tmp_path / f"{name}.npy") for name in names)
    assert codes.shape == dequantized.shape == conv.shape
    assert codes.min() >= 0
    assert codes.max() <= 15
    wide = (slice(None), None, None, None)
    np.testing.assert_array_equal(dequantized, (codes - zero[wide]).astype(np.float32) * scale[wide])
    assert np.abs(dequantized - conv).max() <= scale.max() * 0.5001


def test_histograms_count_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "analyze", SAMPLE, "--tensor", CONV, "--format", "int4", "--histogram", "100", "--json")
    (tensor,) = document["tensors"]
    histogram = tensor["histogram"]
    assert sum(histogram["original"]) == sum(histogram["dequantized"]) == tensor["n"]
    assert len(histogram["edges"]) == len(histogram["original"]) + 1
    assert len(tensor["error_histogram"]["edges"]) == len(tensor["error_histogram"]["counts"]) + 1


def test_advice_on_a_tensor_is_printed_and_stands_in_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    x[3, 3] = 1000
    np.save(tmp_path / "one.npy", x)
    own = ("analyze", str(tmp_path / "one.npy"), "--tensor", "one", "--format", "int8")
    (tensor,) = run_json(capsys, *own, "--json")["tensors"]
    advice, moments = tensor["advice"], tensor["moments"]
    assert moments["mean"] == pytest.approx(x.mean(dtype=np.float64))
    assert moments["sigma"] == pytest.approx(x.std(dtype=np.float64))
    assert [(each["value"], each["index"]) for each in moments["outliers"]] == [(1000, [3, 3])]
    assert "1,000 at [3, 3]" in advice[0]["sentence"]
    for each in advice:
        options = [word for name, value in each["spec"].items() for word in (f"--{name.replace('_', '-')}", value)]
        (then,) = run_json(capsys, *own[:4], *options, "--json")["tensors"]
        assert then["metrics"]["sqnr_db"] == pytest.approx(each["sqnr_db"])
        assert then["metrics"]["bits_per_weight"] == each["bits_per_weight"]
    assert main(own) == 0
    printed = capsys.readouterr().out
    assert f"advice: {advice[0]['sentence']}" in printed
    assert f"{advice[0]['remedy']}: {advice[0]['sqnr_db']:.1f} dB" in printed


def test_infinite_decibels_are_the_string_inf_and_stdout_is_one_document(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "halves.npy", np.full((3, 4), 0.5, np.float32))
    document = run_json(capsys, "analyze", str(tmp_path / "halves.npy"), "--all", "--json")
    assert document["tensors"][0]["metrics"]["sqnr_db"] == "inf"
    assert document["tensors"][0]["flags"] == ["constant"]


def test_nonfinite_values_are_counted_and_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.array([1.0, np.nan, np.inf, -2.0, np.nan], np.float32))
    (tensor,) = run_json(capsys, "analyze", str(tmp_path / "bad.npy"), "--all", "--json")["tensors"]
    assert (tensor["nonfinite"], tensor["nan"], tensor["inf"]) == (3, 2, 1)
    assert tensor["flags"] == ["nan", "inf"]
    assert tensor["n"] == 5


def test_nothing_is_perfect_where_nothing_was_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "zeros.npy", np.zeros((3, 4), np.float32))
    document = run_json(capsys, "analyze", str(tmp_path / "zeros.npy"), "--all", "--json")
    (tensor,) = document["tensors"]
    assert tensor["flags"] == ["zero"]
    assert tensor["metrics"]["sqnr_db"] is tensor["metrics"]["cosine"] is document["totals"]["sqnr_db"] is None
    assert tensor["metrics"]["mse"] == 0
    assert main(["analyze", str(tmp_path / "zeros.npy"), "--all"]) == 0
    told = capsys.readouterr().out
    assert "all zero" in told
    assert "SQNR – dB" in told
    assert "inf" not in told


def test_totals_are_over_weights_and_a_tensor_that_fails_is_a_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(40, 8))
    adam = torch.optim.Adam(net.parameters())
    net[2](torch.randn(4, 40)).square().mean().backward()
    adam.step()
    huge = torch.tensor([1e300, -1e300, 1.0, 2.0], dtype=torch.float64)
    torch.save({"model": net.state_dict(), "optimizer": adam.state_dict(), "huge": huge}, tmp_path / "c.pt")
    document = run_json(capsys, "analyze", str(tmp_path / "c.pt"), "--all", "--format", "int4", "--json")
    rows = {each["name"]: each for each in document["tensors"]}
    assert rows["huge"]["flags"] == ["beyond_float32"]
    assert "float32 cannot hold" in rows["huge"]["trouble"]
    assert rows["model.1.running_var"]["role"] == "statistic"
    assert rows["optimizer.state.4.exp_avg"]["role"] == "optimizer"
    x2 = e2 = 0.0
    for weight in (net[0].weight, net[2].weight):
        scale = weight.abs().max() / 7
        error = torch.fake_quantize_per_tensor_affine(weight, scale.item(), 0, -7, 7) - weight
        x2, e2 = x2 + weight.double().square().sum().item(), e2 + error.double().square().sum().item()
    totals = document["totals"]
    assert totals["sqnr_db"] == pytest.approx(10 * math.log10(x2 / e2), rel=1e-4)
    assert (totals["params"], totals["original_bytes"]) == (8 * 27 + 8 * 40, 4 * (8 * 27 + 8 * 40))
    assert main(["analyze", str(tmp_path / "c.pt"), "--tensor", "huge"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "no-such-file.safetensors"], "no-such-file.safetensors"),
        (["analyze", SAMPLE, "--tensor", "features.12.conv.0.0.wieght"], "Did you mean features.12.conv.0.0.weight"),
        (["analyze", SAMPLE, "--all", "--format", "int9"], "int9"),
        (["analyze", SAMPLE, "--all", "--format", "fp16", "--scheme", "affine"], "no scale"),
        (["analyze", SAMPLE, "--all", "--observer", "fixed:2,1"], "not below"),
        (["analyze", SAMPLE, "--all", "--observer", "percentile:x"], "must be a number"),
        (["analyze", SAMPLE, "--tensor", CONV, "--granularity", "channel:7"], "Axis 7"),
        (["analyze", SAMPLE, "--tensor", CONV, "--granularity", "channel:0", "--observer", "histogram"], "per tensor"),
        (["analyze", SAMPLE, "--tensor", CONV, "--histogram", "1"], "histogram"),
        (["runs", "no-such-run"], "no-such-run"),
        (["run", "ptq-static", "--model", "resnet"], "resnet"),
        (["run", "ptq-static", "--data", "/no/such/folder"], "folder"),
        (["--size", "big"], "big"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_runs_without_predictions_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    history = History()
    run_id = history.start("evaluate", {})
    history.fail(run_id, "The disk is full.")
    assert main(["runs", run_id, "--compare", "nonsense"]) == 2
    assert "no predictions to compare: it is failed" in capsys.readouterr().err
    history.delete(run_id)


def test_wrong_usage_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["analyze", SAMPLE, "--no-such-option"])
    assert stop.value.code == 2


def test_a_bug_is_exit_code_1_with_a_traceback() -> None:
    code = "import qexplorer.cli as c, qexplorer.commands.formats as f; f.run = lambda a: 1 / 0; c.main(['formats'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_cancels_a_run_with_130_and_the_history_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "qexplorer", "run", "ptq-static", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("qexplorer/history.sqlite3")):
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    listed = json.loads(qexplorer("runs", "--json", XDG_DATA_HOME=str(tmp_path)).stdout)
    assert [run["status"] for run in listed["runs"]] == ["cancelled"]
    assert not list((tmp_path / "qexplorer").glob("runs/*/*"))


def test_a_closed_pipe_ends_quietly() -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m qexplorer list "{SAMPLE}" | head -1',
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("name")


def test_formats_lists_every_format_with_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in run_json(capsys, "formats", "--json")["formats"]}
    for bits in (2, 3, 4, 5, 6, 7, 8, 16):
        assert (rows[f"int{bits}"]["min"], rows[f"int{bits}"]["max"]) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        assert rows[name]["max"] == torch.finfo(dtype).max


def test_run_prints_the_float_model_first_and_both_presets(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "run", "ptq-static", "--limit", "64", "--calibration", "32", "--json")
    names = [row["name"] for row in document["rows"]]
    assert names == ["fp32", "pytorch_default", "x86"]
    assert {"run_id", "job", "model", "data", "seed", "spec", "versions", "seconds", "rows", "artifact"} <= set(
        document
    )
    sizes = [row["bytes_on_disk"] / 1e6 for row in document["rows"]]
    assert sizes == pytest.approx([9.18, 2.35, 2.65], abs=0.05)
    for row in document["rows"]:
        assert row["kind"] == "REAL"
        assert row["top1_ci95"][0] <= row["top1"] <= row["top1_ci95"][1]
        assert set(row["latency_ms"]) == {"1", "64"}
    listed = run_json(capsys, "runs", "--json")["runs"]
    assert listed[0]["run_id"] == document["run_id"]
    assert listed[0]["status"] == "done"
    again = run_json(capsys, "runs", document["run_id"], "--json")["runs"][0]["result"]
    assert again["rows"] == document["rows"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_screenshot_needs_no_display_and_is_not_blank(tmp_path: Path, theme: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    target = tmp_path / "shot.png"
    command = [sys.executable, "-m", "qexplorer", "--screenshot", str(target), "--size", "1280x800", "--theme", theme]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    from PySide6.QtGui import QImage

    image = QImage(str(target))
    assert (image.width(), image.height()) == (1280, 800)
    middle = image.pixelColor(640, 400).lightness()
    assert middle > 200 if theme == "light" else middle < 80


def test_a_screenshot_of_a_wrong_file_says_why(tmp_path: Path) -> None:
    (tmp_path / "page.safetensors").write_text("<!doctype html><html></html>")
    done = qexplorer("--screenshot", str(tmp_path / "shot.png"), str(tmp_path / "page.safetensors"))
    assert done.returncode == 2
    assert "page.safetensors" in done.stderr
    assert "web page" in done.stderr


def test_a_console_that_lacks_a_sign_shows_it_escaped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(4, np.float32))
    done = qexplorer("formats", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout


def test_scales_of_a_format_without_one_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["analyze", SAMPLE, "--tensor", CONV, "--format", "fp16", "--scale", str(tmp_path / "s.npy")]) == 2
    assert "no scale" in capsys.readouterr().err
    assert not (tmp_path / "s.npy").exists()


def test_a_preview_of_repairs_prints_what_each_does_to_the_layer(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "vit_digits", "--limit", "24", "--threads", "1", "--timing", "off", "--calibration", "32"]
    assert main(["run", "repair", *words, "--layer", "head", "--weight-spec", "int3 channel:0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("head "))
    assert "output dB" in lines[at]
    assert {"rounding to nearest", "GPTQ", "as chosen"} <= {line.split("  ")[0] for line in lines[at + 1 :]}
