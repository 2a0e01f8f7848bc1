from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from qexplorer.engine.models import models
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.resources import resource
from qexplorer.weights import open_checkpoint

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


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    half = {name: array.astype(np.float16) for name, array in load_file(SAMPLE).items() if array.ndim}
    net = finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, half)))
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_batch_counters_may_be_missing(tmp_path: Path) -> None:
    counters = {name: None for name in load_file(SAMPLE) if name.endswith("num_batches_tracked")}
    assert counters
    assert not finish(models["mobilenet_v2_digits"]().load(altered(tmp_path, counters))).training
