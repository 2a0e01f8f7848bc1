import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from qexplorer.engine.datasets import open_dataset
from qexplorer.engine.measuring.evaluate import evaluate
from qexplorer.engine.measuring.row import sha256_of
from qexplorer.engine.models import Model, find_model, models
from qexplorer.engine.models.state_dict import load_weights, theoretical_bytes, weight_files
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.granularity import PerChannel, PerTensor
from qexplorer.resources import resource
from qexplorer.weights import Checkpoint, open_checkpoint

SAMPLE = resource("mobilenet_v2_digits.safetensors")
VIT = resource("vit_digits.safetensors")


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


def test_the_other_sample_is_a_vision_transformer_of_a_quarter_million_parameters() -> None:
    model = models["vit_digits"]()
    net = finish(model.load(None))
    assert sum(p.numel() for p in net.parameters()) == 267_290
    assert VIT.stat().st_size < 1_100_000
    assert not net.training
    assert model.code_files() == ()
    model.check_trust()


def test_the_vision_transformer_is_as_good_as_its_header_says() -> None:
    facts = finish(open_checkpoint(VIT)).metadata
    data = finish(open_dataset("digits"))
    found = finish(evaluate(finish(models["vit_digits"]().load(None)), data.x_test, data.y_test))
    assert facts["model"] == "vit_digits"
    assert facts["data_sha256"] == data.sha256
    assert found.top1 >= 0.97
    assert found.top1 == pytest.approx(float(facts["top1"]), abs=1 / 360)
    assert "CC BY 4.0" in facts["licence"]


def test_the_vision_transformer_can_be_traced_and_has_layers_to_quantize() -> None:
    net = finish(models["vit_digits"]().load(None))
    traced = torch.fx.symbolic_trace(net)
    x = torch.rand(3, 1, 32, 32)
    assert torch.equal(traced(x), net(x))
    linear = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    for name in ("blocks.0.attention.qkv", "blocks.3.attention.proj", "blocks.3.mlp.0", "head"):
        assert name in linear
        assert type(traced.get_submodule(name)) is torch.nn.Linear


def test_a_model_is_found_by_its_name() -> None:
    for kind in models:
        assert find_model(kind.name) == kind()


def test_what_is_no_model_says_what_there_is() -> None:
    with pytest.raises(UserError, match="There is no model “resnet”") as caught:
        find_model("resnet")
    assert caught.value.field == "model"
    for word in ("mobilenet_v2_digits", "vit_digits", "FILE.py:FACTORY", ".pt2"):
        assert word in caught.value.remedy


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
        ({"classifier.1.bias": None}, "lacks 1 tensor (classifier.1.bias) that the model takes."),
        ({"head.weight": np.zeros(3, np.float32)}, "has 1 tensor (head.weight) more than the model takes."),
        (
            {"classifier.1.bias": None, "head.weight": np.zeros(3, np.float32), "head.bias": np.zeros(3, np.float32)},
            "the model takes and has 2 tensors (head.bias, head.weight) more than the model takes. Choose weights of",
        ),
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
    with pytest.raises(
        UserError, match=r"has 4 tensors \(a\\x1b\[2J\\u202eb, c\\x0d\\x0ad, e+…e+ and 1 more\)"
    ) as caught:
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


class Small(torch.nn.Module):
    """Four tensors and a counter; in a wrapper, all their names begin alike."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 1, bias=False)
        self.norm = torch.nn.BatchNorm2d(2, affine=False)
        self.register_buffer("order", torch.tensor([1, 0]))


class Wrapped(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Small()


def values(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, value) for name, tensor in Small().state_dict().items()}


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def check_loaded(tmp_path: Path, content: object, net: torch.nn.Module | None = None) -> None:
    net = Small() if net is None else net
    path = tmp_path / "some.pt"
    torch.save(content, path)
    finish(load_weights(net, path, "small"))
    for name, tensor in net.state_dict().items():
        assert bool((tensor == 1).all()), name
        assert tensor.dtype == (torch.float32 if not name.endswith(("order", "tracked")) else torch.int64)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "net.module._orig_mod.", "encoder."])
def test_a_prefix_that_all_names_of_a_file_share_does_not_hinder(tmp_path: Path, prefix: str) -> None:
    check_loaded(tmp_path, under(prefix, values()))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.model."])
def test_nor_does_one_that_all_names_of_the_module_share(tmp_path: Path, prefix: str) -> None:
    check_loaded(tmp_path, under(prefix, values()), Wrapped())


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_weights_are_found_in_the_file_of_a_training_script(tmp_path: Path, key: str) -> None:
    slow = {"state": {i: {"exp_avg": t} for i, t in enumerate(values(2.0).values())}}
    document = {key: under("module.", values()), "optimizer": slow, "epoch": torch.tensor(3), "seconds": 3.5}
    check_loaded(tmp_path, document)
    check_loaded(tmp_path, {key: values(), "optimizer_states": [values(2.0)], "scaler": {"scale": torch.ones(1)}})


def test_beside_a_state_dict_anything_may_lie(tmp_path: Path) -> None:
    check_loaded(tmp_path, {"state_dict": under("model.", values()), "callbacks": {"best": torch.ones(1)}})


def refused(tmp_path: Path, content: object, net: torch.nn.Module | None = None) -> str:
    path = tmp_path / "some.pt"
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        finish(load_weights(Small() if net is None else net, path, "small"))
    assert caught.value.field == "weights"
    return str(caught.value)


def test_a_part_that_may_be_the_wrong_one_is_not_guessed(tmp_path: Path) -> None:
    both = {"state_dict": values(), "ema": values(2.0)}
    assert "holds weights that fit small more than once: state_dict.*, ema.*." in refused(tmp_path, both)
    assert "more than once: encoder.*, ema.*." in refused(tmp_path, {"encoder": values(), "ema": values(2.0)})
    larger = {**under("model.", values()), "head.weight": torch.ones(3)}
    assert "has 1 tensor (head.weight) more than the model takes" in refused(tmp_path, larger)
    nested = {"state_dict": {**under("model.", values()), "loss.weight": torch.ones(3)}}
    assert "has 1 tensor (state_dict.loss.weight) more than" in refused(tmp_path, nested)


def test_of_two_parts_the_one_with_the_right_shapes_is_meant(tmp_path: Path) -> None:
    other = {name: torch.ones(7) for name in values()}
    check_loaded(tmp_path, {"state_dict": values(), "teacher": other})
    assert "of another shape: conv.weight [7] for [2, 1, 1, 1]" in refused(tmp_path, {"state_dict": other, "t": other})


def test_what_is_missing_is_counted_without_the_prefix(tmp_path: Path) -> None:
    lacking = under("module.", {name: tensor for name, tensor in values().items() if name != "conv.weight"})
    message = "some.pt lacks 1 tensor (conv.weight) that the model takes. Choose weights of small."
    assert refused(tmp_path, lacking) == message
    assert refused(tmp_path, lacking, Wrapped()) == message.replace("conv.weight", "model.conv.weight")
    assert "lacks 4 tensors (conv.weight, norm.running_mean, norm.running_var and 1 more)" in refused(tmp_path, {})
    assert "has 5 tensors (conv.weight, " in refused(tmp_path, values(), torch.nn.ReLU())


def test_a_module_without_tensors_takes_a_file_without_tensors(tmp_path: Path) -> None:
    check_loaded(tmp_path, {}, torch.nn.ReLU())


@dataclass(frozen=True)
class TwoLayers(Model):
    """All that a new model has to say, in one place."""

    name: ClassVar[str] = "two_layers"
    title: ClassVar[str] = "Two layers"

    def network(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 16), torch.nn.Linear(16, 10))


def test_a_model_is_one_class_that_builds_its_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    saved = {name: value.numpy() for name, value in TwoLayers().network().state_dict().items()}
    save_file(saved, path)
    torch.manual_seed(3)
    net = finish(TwoLayers().load(path))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1)), "building a network must leave the caller's random numbers alone"
    assert not net.training
    assert {name: value.numpy().tobytes() for name, value in net.state_dict().items()} == {
        name: value.tobytes() for name, value in saved.items()
    }
    with pytest.raises(UserError, match="no weights of its own"):
        finish(TwoLayers().load(None))
