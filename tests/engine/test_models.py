import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from qexplorer.engine.measure import sha256_of
from qexplorer.engine.models import models
from qexplorer.engine.state_dict import theoretical_bytes, weight_files
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.granularity import PerChannel, PerTensor
from qexplorer.resources import resource
from qexplorer.weights import Checkpoint, open_checkpoint

SAMPLE = resource("mobilenet_v2_digits.safetensors")


def altered(tmp_path: Path, changes: Mapping[str, np.ndarray | None]) -> Path:
    """The sample weights with some tensors replaced, or left out where None."""
    tensors: dict[str, Any] = {**load_file(SAMPLE), **changes}
    path = tmp_path / "weights.safetensors"
    save_file({name: array for name, array in tensors.items() if array is not None}, path)
    return path


def test_the_sample_is_mobilenet_v2_of_two_and_a_quarter_million_parameters() -> None:
    model = models["mobilenet_v2_digits"]()
    net = finish(model.load(None))
    assert sum(p.numel() for p in net.parameters()) == 2_236_106
    assert not net.training
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    names = list(net.state_dict())
    assert names[0] == "features.0.0.weight"
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    assert "features.2.conv.1.0.weight" in names


def test_the_sample_says_in_its_header_how_good_it_is() -> None:
    facts = finish(open_checkpoint(SAMPLE)).metadata
    assert facts["model"] == "mobilenet_v2_digits"
    assert float(facts["top1"]) >= 0.98
    assert facts["n_test"] == "360"
    assert "CC BY 4.0" in facts["licence"]


def test_loading_leaves_the_random_numbers_as_they_are() -> None:
    before = torch.random.get_rng_state()
    finish(models["mobilenet_v2_digits"]().load(None))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_mnist_model_asks_for_weights() -> None:
    with pytest.raises(UserError, match="has no weights of its own") as caught:
        finish(models["mobilenet_v2_mnist"]().load(None))
    assert caught.value.field == "weights"


def test_the_mnist_model_takes_weights_of_the_same_network() -> None:
    assert not finish(models["mobilenet_v2_mnist"]().load(SAMPLE)).training


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file .*nothing\.safetensors"):
        finish(models["mobilenet_v2_digits"]().load(tmp_path / "nothing.safetensors"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier.1.bias": None}, "lacks classifier.1.bias"),
        ({"head.weight": np.zeros(3, np.float32)}, "more than the model takes: head.weight"),
        ({"classifier.1.bias": np.zeros(7, np.float32)}, "another shape: classifier.1.bias [7] for [10]"),
        ({"classifier.1.bias": np.zeros(10, np.int8)}, "no floating-point numbers in classifier.1.bias"),
        ({"classifier.1.bias": np.full(10, np.nan, np.float32)}, "NaN or Inf in classifier.1.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, changes: dict[str, np.ndarray | None], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, changes)))
    assert message in str(caught.value)
    assert caught.value.field == "weights"


def test_weights_that_do_not_fit_are_refused_before_any_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a tensor is read")

    monkeypatch.setattr(Checkpoint, "read", read)
    for change in (None, np.zeros(7, np.float32), np.zeros(10, np.int8)):
        with pytest.raises(UserError, match=r"classifier\.1\.bias"):
            finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, {"classifier.1.bias": change})))


def test_names_from_a_file_cannot_move_the_cursor_or_fill_the_screen(tmp_path: Path) -> None:
    odd = {name: np.zeros(3, np.float32) for name in ("a\x1b[2J\u202eb", "c\r\nd", "e" * 5000, "f")}
    with pytest.raises(UserError, match=r"takes: a\\x1b\[2J\\u202eb, c\\x0d\\x0ad, e+…e+ and 1 more") as caught:
        finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, odd)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_numbers_too_large_for_float32_are_refused(tmp_path: Path) -> None:
    path = altered(tmp_path, {"classifier.1.bias": np.full(10, 1e300)})
    with pytest.raises(UserError, match=r"NaN or Inf in classifier\.1\.bias"):
        finish(models["mobilenet_v2_digits"]().load(path))


def test_only_the_files_that_are_read_count_for_the_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = load_file(SAMPLE)
    half = len(tensors) // 2
    parts = {"b.safetensors": list(tensors)[:half], "a.safetensors": list(tensors)[half:]}
    for file, names in parts.items():
        save_file({name: tensors[name] for name in names}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, names in parts.items() for name in names}}))
    before = finish(weight_files(folder))
    assert before == (folder / "a.safetensors", folder / "b.safetensors")
    digest = hashlib.sha256((folder / "a.safetensors").read_bytes() + (folder / "b.safetensors").read_bytes())
    assert sha256_of(before) == digest.hexdigest()
    (folder / "README.md").write_text("not read")
    (folder / "optimizer.pt").write_bytes(b"not read")
    assert finish(weight_files(folder)) == finish(weight_files(index)) == before
    assert not finish(models["mobilenet_v2_mnist"]().load(folder)).training
    assert sha256_of(finish(weight_files(SAMPLE))) == hashlib.sha256(SAMPLE.read_bytes()).hexdigest()


def test_a_file_that_is_gone_when_its_fingerprint_is_taken_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.pt cannot be read"):
        sha256_of([tmp_path / "gone.pt"])


@pytest.mark.filterwarnings("ignore:.*quantiz.*:UserWarning", "ignore:.*quantiz.*:DeprecationWarning")
def test_the_size_of_quantized_tensors_follows_one_rule() -> None:
    w = torch.arange(-6.0, 6.0).reshape(3, 4)
    scales, none, some = torch.ones(3), torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 0])
    size = {
        "symmetric": torch.quantize_per_tensor(w, 1.0, 0, torch.qint8),
        "affine": torch.quantize_per_tensor(w, 1.0, 3, torch.qint8),
        "channels": torch.quantize_per_channel(w, scales, none, 0, torch.qint8),
        "affine channels": torch.quantize_per_channel(w, scales, some, 0, torch.qint8),
        "conv.scale": torch.tensor(0.5),
        "conv.zero_point": torch.tensor(7),
        "input_zero_point_0": torch.tensor(7),
        "packed": (torch.quantize_per_tensor(w, 1.0, 0, torch.qint8), torch.zeros(3)),
        "dtype": torch.qint8,
    }
    assert {name: theoretical_bytes({name: value}) for name, value in size.items()} == {
        "symmetric": 12 + 4,
        "affine": 12 + 4 + 1,
        "channels": 12 + 3 * 4,
        "affine channels": 12 + 3 * (4 + 1),
        "conv.scale": 4,
        "conv.zero_point": 1,
        "input_zero_point_0": 1,
        "packed": 12 + 4 + 12,
        "dtype": 0,
    }


def test_a_tensor_takes_what_the_analysis_says_it_takes() -> None:
    w = torch.linspace(-1, 1, 40).reshape(4, 10)
    for granularity, quantized in (
        (PerTensor(), torch.quantize_per_tensor(w, 1.0, 0, torch.qint8)),
        (PerChannel(0), torch.quantize_per_channel(w, torch.ones(4), torch.zeros(4), 0, torch.qint8)),
    ):
        found = finish(analyze(w.numpy(), QuantSpec(granularity=granularity)))
        assert found.metrics.bytes == theoretical_bytes({"w": quantized})


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    half = {name: array.astype(np.float16) for name, array in load_file(SAMPLE).items() if array.ndim}
    net = finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, half)))
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_batch_counters_may_be_missing(tmp_path: Path) -> None:
    counters = {name: None for name in load_file(SAMPLE) if name.endswith("num_batches_tracked")}
    assert counters
    assert not finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, counters))).training
