"""The scan of a whole checkpoint: the figures of `analyze`, whatever interrupts it, and what goes wrong in it."""

import csv
import io
import math
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.rows import BINS, LayerRow, thumbnail_of
from qexplorer.inspection.scan import Scan
from qexplorer.inspection.scan_table import as_csv, table
from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import Values
from qexplorer.resources import resource
from qexplorer.weights import Checkpoint, open_checkpoint


def recipes(*specs: QuantSpec) -> tuple[Recipe, ...]:
    return tuple(map(Recipe.of_weights, specs))


INT4 = QuantSpec.from_json({"format": "int4"})
CHANNELS = QuantSpec.from_json({"format": "int8", "granularity": "channel:0"})
BLOCKS = QuantSpec.from_json({"format": "q4_0"})


@pytest.fixture(scope="module")
def sample() -> Checkpoint:
    return finish(open_checkpoint(str(resource("mobilenet_v2_digits.safetensors"))))


def opened(folder: Path, **tensors: np.ndarray) -> Checkpoint:
    save_file(tensors, folder / "w.safetensors")
    return finish(open_checkpoint(str(folder / "w.safetensors")))


def mixed(folder: Path) -> Checkpoint:
    """Tensors of every kind, in the file's order."""
    rng = np.random.default_rng(3)
    return opened(
        folder,
        all_nan=np.full((4, 8), np.nan, np.float32),
        big=rng.normal(0, 0.1, (64, 96)).astype(np.float32),
        counter=np.array([7], np.int64),
        empty=np.zeros((0, 4), np.float32),
        flat=np.full((3, 32), 0.25, np.float32),
        half=rng.normal(0, 1, (32, 64)).astype(np.float16),
        holes=np.where(np.arange(256) % 5, rng.normal(size=256), np.nan).astype(np.float32).reshape(8, 32),
        scalar=np.array(0.5, np.float32),
    )


def plain(rows: Any) -> list[tuple[Any, ...]]:
    """Rows as values that can be compared; NaN is equal to itself in `repr`."""
    return [
        (r.name, repr(r.figures), r.histogram.tolist(), repr((r.lo, r.hi)), r.share, r.tied_to, r.trouble)
        for r in rows
    ]  # fmt: skip


def named(rows: Any) -> dict[str, LayerRow]:
    return {row.name: row for row in rows}


def test_every_row_has_the_figures_of_analyze(sample):
    scan = Scan(Analyses(sample), recipes(INT4, CHANNELS))
    rows = finish(scan.steps())
    assert [row.name for row in rows] == [t.name for t in sample.tensors]
    assert scan.complete
    measured = [t for t in sample.tensors if t.dtype == "float32"]
    for tensor in measured[::7]:
        row, values = named(rows)[tensor.name], sample.read(tensor)
        assert row.histogram.sum() == values.size
        assert (row.lo, row.hi) == (values.min(), values.max())
        for spec, figures in zip(row.specs, row.figures, strict=True):
            analysis = finish(analyze(values, spec, original_bytes=tensor.nbytes))
            metrics, sums = analysis.metrics, analysis.sums
            assert asdict(figures.metrics) == pytest.approx(asdict(metrics), rel=1e-12)
            assert asdict(figures.sums) == pytest.approx(asdict(sums), rel=1e-12)


def test_totals_are_over_weights_and_not_over_statistics_and_biases(sample):
    scan = Scan(Analyses(sample), recipes(INT4))
    rows = finish(scan.steps())
    (totals,) = scan.totals
    weights = [t for t in sample.tensors if len(t.shape) > 1]  # of this model: convolutions and one linear layer
    x2 = e2 = 0.0
    for tensor in weights:
        x = sample.read(tensor).astype(np.float64)
        scale = np.float32(np.abs(x).max() / 7)
        x2, e2 = x2 + np.square(x).sum(), e2 + np.square(np.rint(x / scale).clip(-7, 7) * scale - x).sum()
    assert (totals.x2, totals.e2) == pytest.approx((x2, e2), rel=1e-5)
    assert totals.bytes == sum(t.n // 2 + t.n % 2 + 4 for t in weights)
    assert totals.bits_per_weight == pytest.approx(8 * totals.bytes / sum(t.n for t in weights))
    assert totals.sqnr_db == pytest.approx(10 * math.log10(x2 / e2), rel=1e-5)
    assert (totals.done, totals.quantized) == (len(rows), len(weights))
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_rows_are_flagged_and_a_tensor_beyond_float32_is_a_row_that_says_so(tmp_path):
    rng = np.random.default_rng(4)
    broken = rng.normal(size=(40, 500)).astype(np.float32)
    broken[3, 4], broken[5, 6:8] = np.nan, np.inf
    checkpoint = opened(
        tmp_path,
        **{"broken.weight": broken, "huge.weight": np.array([[1e300, 1.0], [2.0, np.nan]]),
           "zero.weight": np.zeros((30, 40), np.float16), "zero.bias": np.zeros(30, np.float32),
           "flat.weight": np.full((4, 4), 0.5, np.float32), "good.weight": rng.normal(size=(8, 8)).astype(np.float32)},
    )  # fmt: skip
    scan = Scan(Analyses(checkpoint), recipes(INT4))
    rows = named(finish(scan.steps()))
    assert {name: row.flags.text for name, row in rows.items()} == {
        "broken.weight": "1 NaN, 2 infinite", "huge.weight": "1 NaN, 1 beyond float32", "zero.weight": "all zero",
        "zero.bias": "all zero", "flat.weight": "all equal to 0.5", "good.weight": "",
    }  # fmt: skip
    assert "float32 cannot hold" in rows["huge.weight"].trouble
    assert {name for name, row in rows.items() if row.first} == set(rows) - {"zero.bias", "good.weight"}
    assert math.isnan(rows["zero.weight"].figures[0].metrics.sqnr_db)
    assert scan.totals[0].quantized == 4
    titles, lines = table(scan.rows, scan.recipes)
    cells = {line[0]: dict(zip(titles, line, strict=True)) for line in lines}
    assert (cells["zero.bias"]["role"], cells["broken.weight"]["flags"]) == ("bias", "nan inf")
    assert cells["zero.weight"]["sqnr_db_A"] == ""


def test_the_shares_of_the_error_are_those_of_the_sum_and_sum_to_one(sample):
    scan = Scan(Analyses(sample), recipes(INT4))
    rows, (totals,) = finish(scan.steps()), scan.totals
    shares = {row.name: totals.error_share(row, row.figures[0]) for row in rows}
    assert sum(share for share in shares.values() if not math.isnan(share)) == pytest.approx(1)
    name = max(shares, key=lambda name: -1 if math.isnan(shares[name]) else shares[name])
    assert shares[name] == named(rows)[name].figures[0].sums.e2 / totals.e2


@pytest.mark.parametrize("stops", [1, 7, 40])
def test_a_scan_that_was_stopped_goes_on_where_it_stopped(tmp_path, stops):
    checkpoint = mixed(tmp_path)
    whole = finish(Scan(Analyses(checkpoint), recipes(INT4, CHANNELS)).steps())
    scan = Scan(Analyses(checkpoint), recipes(INT4, CHANNELS))
    fractions: list[float] = []
    while not scan.complete:
        before, steps = scan.done, scan.steps()
        for _, progress in zip(range(stops), steps, strict=False):
            fractions.append(progress.fraction or 0.0)
        steps.close()
        stops += 1
        assert scan.done >= before
    assert plain(scan.rows) == plain(whole)
    assert repr(scan.totals) == repr(scanned(checkpoint).totals)
    assert finish(scan.steps()) == scan.rows


def scanned(checkpoint: Checkpoint) -> Scan:
    scan = Scan(Analyses(checkpoint), recipes(INT4, CHANNELS))
    finish(scan.steps())
    return scan


def test_progress_is_in_bytes_of_all_that_is_read(tmp_path):
    checkpoint = mixed(tmp_path)
    told: list[Progress] = []
    finish(Scan(Analyses(checkpoint), recipes(INT4, CHANNELS)).steps(), told.append)
    total = sum(t.nbytes for t in checkpoint.tensors if t.dtype != "int64")
    assert {step.total for step in told} == {total}
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert (told[0].done, told[-1].done) == (0, total)
    assert told[-1].fraction == 1


def test_another_thread_sees_rows_and_totals_that_belong_together(sample):
    scan = Scan(Analyses(sample), recipes(INT4))
    worker = threading.Thread(target=lambda: finish(scan.steps()), daemon=True)
    worker.start()
    taken: list[LayerRow] = []
    while worker.is_alive() or len(taken) < scan.done:
        worker.join(0.01)
        taken += scan.new_rows(len(taken))
        assert scan.totals[0].done <= scan.done
    assert [row.name for row in taken] == [t.name for t in sample.tensors]


def test_what_cannot_be_measured_says_why_and_the_rest_goes_on(tmp_path):
    checkpoint = mixed(tmp_path)
    rows = named(finish(Scan(Analyses(checkpoint), recipes(INT4, CHANNELS)).steps()))
    assert "int64" in rows["counter"].trouble
    assert rows["all_nan"].trouble == "None of its values is finite."
    assert rows["empty"].trouble == "It is empty."
    for name in ("counter", "all_nan", "empty"):
        assert math.isnan(rows[name].figures[0].metrics.sqnr_db)
        assert rows[name].histogram.tolist() == [0] * BINS
    assert rows["big"].trouble == rows["half"].trouble == ""
    assert rows["holes"].histogram.sum() == np.isfinite(checkpoint.read(checkpoint.tensor("holes"))).sum()
    assert rows["flat"].histogram.sum() == 96
    assert (rows["flat"].lo, rows["flat"].hi) == (0.25, 0.25)


def test_a_spec_that_does_not_serve_a_tensor_leaves_it_as_it_is_stored(tmp_path):
    checkpoint = mixed(tmp_path)
    scan = Scan(Analyses(checkpoint), recipes(INT4, CHANNELS))
    scalar = named(finish(scan.steps()))["scalar"]
    assert scalar.trouble == ""
    assert scalar.figures[0].refusal == ""
    assert scalar.figures[1].refusal
    assert math.isnan(scalar.figures[1].metrics.sqnr_db)
    assert scan.totals[1].quantized == scan.totals[0].quantized - 1
    assert scalar.histogram.sum() == 1


def test_a_file_that_is_damaged_or_changed_meanwhile_gives_trouble_and_no_end(tmp_path):
    checkpoint = mixed(tmp_path)
    scan = Scan(Analyses(checkpoint), recipes(INT4))
    steps = scan.steps()
    while scan.done < 4:
        next(steps)
    steps.close()
    before = plain(scan.rows)
    with (tmp_path / "w.safetensors").open("r+b") as file:
        file.truncate(900)
    rows = finish(scan.steps())
    assert len(rows) == len(checkpoint.tensors)
    assert plain(rows[:4]) == before
    assert all("changed" in row.trouble for row in rows[4:] if row.dtype != "int64" and row.n)


def test_too_little_memory_for_one_tensor_does_not_end_the_scan(tmp_path, monkeypatch):
    analyses = Analyses(mixed(tmp_path))
    measure = analyses.measure

    def short(name: str, *args: Any, **options: Any) -> Steps[Any]:
        if name == "big":
            raise MemoryError
        return (yield from measure(name, *args, **options))

    monkeypatch.setattr(analyses, "measure", short)
    rows = named(finish(Scan(analyses, recipes(INT4)).steps()))
    assert "memory" in rows["big"].trouble
    assert rows["half"].trouble == ""


def test_tied_tensors_are_listed_and_counted_once(tmp_path):
    import torch

    weight = torch.linspace(-1, 1, 640).reshape(10, 64)
    torch.save({"embed.weight": weight, "head.weight": weight, "bias": torch.ones(10)}, tmp_path / "tied.pt")
    checkpoint = finish(open_checkpoint(str(tmp_path / "tied.pt")))
    scan = Scan(Analyses(checkpoint), recipes(INT4))
    rows = named(finish(scan.steps()))
    assert rows["head.weight"].tied_to == "embed.weight"
    assert rows["head.weight"].figures == rows["embed.weight"].figures
    assert rows["head.weight"].share == 0
    assert (rows["embed.weight"].role.name, rows["head.weight"].role.name) == ("embedding", "weight")
    assert scan.totals[0].n == 640
    assert scan.totals[0].x2 == rows["embed.weight"].figures[0].sums.x2
    assert math.isnan(scan.totals[0].error_share(rows["head.weight"], rows["head.weight"].figures[0]))
    assert scan.totals[0].error_share(rows["embed.weight"], rows["embed.weight"].figures[0]) > 0.9
    assert "tied to embed.weight" in as_csv(scan.rows, scan.recipes, "tied.pt")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What was measured: each tensor with the specs under which it was."""
    told: list[tuple[str, Any]] = []
    measure = Analyses.measure

    def noted(self: Analyses, name: str, specs: Any, **options: Any) -> Steps[Any]:
        told.append((name, list(specs)))
        return measure(self, name, specs, **options)

    monkeypatch.setattr(Analyses, "measure", noted)
    return told


def test_what_is_known_is_not_measured_again(tmp_path, asked):
    analyses = Analyses(mixed(tmp_path))
    served = {"big", "half", "holes", "flat", "scalar", "all_nan", "empty"}
    finish(Scan(analyses, recipes(INT4)).steps())
    assert {name for name, _ in asked} == served
    asked.clear()
    second = finish(Scan(analyses, recipes(CHANNELS, INT4)).steps())
    assert asked == [(name, [CHANNELS]) for name, _ in asked]
    assert {name for name, _ in asked} == served
    asked.clear()
    third = finish(Scan(analyses, recipes(INT4, CHANNELS, INT4)).steps())
    assert asked == []
    fresh = Analyses(analyses.checkpoint)
    assert plain(second) == plain(finish(Scan(fresh, recipes(CHANNELS, INT4)).steps()))
    assert plain(third) == plain(finish(Scan(fresh, recipes(INT4, CHANNELS, INT4)).steps()))


def test_a_scan_adds_whole_analyses_of_one_spec_to_those_that_are_known(tmp_path, asked):
    analyses = Analyses(mixed(tmp_path))
    seen = finish(analyses.exact("big", INT4))
    row = named(finish(Scan(analyses, recipes(INT4, CHANNELS), whole=True).steps()))["big"]
    assert dict(asked)["big"] == [CHANNELS]
    assert analyses.known("big", INT4) is seen
    assert row.figures[0].metrics.sqnr_db == seen.metrics.sqnr_db
    half = analyses.known("half", INT4)
    assert half is not None
    assert half.original.sum() == 32 * 64
    assert analyses.known("half", CHANNELS) is None


@pytest.mark.parametrize("scale", [1e-30, 1.0, 3e38])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_histogram_is_numpys_up_to_the_values_at_an_edge(scale, dtype):
    if dtype is np.float16 and scale != 1:
        scale = 6e4 if scale > 1 else 1e-7
    values = (np.random.default_rng(0).uniform(-1, 1, 200_000) * scale).astype(dtype)
    picture = thumbnail_of(finish(sketch(Values.of(values))))
    expected, edges = np.histogram(values.astype(np.float64), BINS)
    assert (picture.lo, picture.hi) == (edges[0], edges[-1])
    assert picture.counts.sum() == values.size
    wide = np.abs(edges) * 2.0**-8 if dtype is np.float32 else np.zeros(len(edges))
    near = np.histogram(values.astype(np.float64), np.sort(np.concatenate([edges - wide, edges + wide])))[0][::2].sum()
    assert np.abs(picture.counts - expected).sum() <= 2 * near + 100


def test_no_name_in_the_table_is_a_formula_for_a_spreadsheet(tmp_path):
    name = '=HYPERLINK("http://there","here")'
    save_file({name: np.ones((8, 8), np.float32)}, tmp_path / "w.safetensors")
    scan = Scan(Analyses(finish(open_checkpoint(tmp_path / "w.safetensors"))), recipes(INT4))
    text = as_csv(finish(scan.steps()), scan.recipes, "w.safetensors")
    body = io.StringIO("".join(f"{line}\n" for line in text.splitlines() if not line.startswith("# ")))
    assert [line["tensor"] for line in csv.DictReader(body)] == [f"'{name}"]


def test_the_table_says_where_float64_was_rounded(tmp_path):
    scan = Scan(Analyses(opened(tmp_path, wide=np.ones((4, 8)), usual=np.ones((4, 8), np.float32))), recipes(INT4))
    notes = {line[0]: line[-1] for line in table(finish(scan.steps()), scan.recipes)[1]}
    assert "rounding to float32" in notes["wide"]
    assert not notes["usual"]


def test_the_table_can_be_read_back(tmp_path):
    scan = Scan(Analyses(mixed(tmp_path)), recipes(INT4, CHANNELS))
    rows = finish(scan.steps())
    text = as_csv(rows, scan.recipes, "w.safetensors")
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert comments[0] == "# w.safetensors"
    assert any(line.startswith("# B: format int8, ") and "granularity channel:0" in line for line in comments)
    body = io.StringIO("".join(f"{line}\n" for line in text.splitlines() if not line.startswith("# ")))
    read = {line["tensor"]: line for line in csv.DictReader(body)}
    assert list(read) == [row.name for row in rows]
    assert float(read["big"]["sqnr_db_A"]) == named(rows)["big"].figures[0].metrics.sqnr_db
    assert float(read["half"]["mse_B"]) == named(rows)["half"].figures[1].metrics.mse
    assert sum(float(line["error_share_A"] or 0) for line in read.values()) == pytest.approx(1)
    assert read["counter"]["sqnr_db_A"] == ""
    assert "int64" in read["counter"]["note"]
    assert read["scalar"]["note"].startswith("B: ")
    header, lines = table(rows, scan.recipes)
    assert {len(line) for line in lines} == {len(header)}


def test_a_spec_of_blocks_serves_what_it_can(tmp_path):
    rows = named(finish(Scan(Analyses(mixed(tmp_path)), recipes(BLOCKS)).steps()))
    assert math.isfinite(rows["big"].figures[0].metrics.sqnr_db)
    assert rows["big"].figures[0].metrics.bits_per_weight == pytest.approx(4.5)


def test_a_tensor_without_a_name_is_a_tensor_like_any_other(tmp_path):
    save_file(
        {"": np.ones(64, np.float32), "w": np.arange(128, dtype=np.float32).reshape(8, 16)}, tmp_path / "n.safetensors"
    )
    rows = named(finish(Scan(Analyses(finish(open_checkpoint(tmp_path / "n.safetensors"))), recipes(INT4)).steps()))
    assert {name: row.shape for name, row in rows.items()} == {"": (64,), "w": (8, 16)}
