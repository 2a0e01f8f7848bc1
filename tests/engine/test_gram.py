"""What a layer reads, as products of its inputs: whatever the layer, however many places."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_nets import randn
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.simulation.gram import MOST_PLACES, columns, gram, grouped
from qexplorer.engine.simulation.layers import quantize_input, weight_quantizer
from qexplorer.engine.simulation.repair_step import LayerTask
from qexplorer.engine.simulation.walk import Visit
from qexplorer.errors import UserError
from qexplorer.quant import QuantSpec

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(5, 3, bias=False), (4, 5)),
    "linear on tokens": (nn.Linear(5, 3, bias=False), (4, 6, 5)),
    "1d": (nn.Conv1d(4, 6, 3, 2, 1, 2, 2, bias=False), (3, 4, 11)),
    "1d circular": (nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular", bias=False), (2, 2, 7)),
    "2d": (nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False), (2, 4, 9, 8)),
    "depthwise": (nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False), (2, 4, 6, 6)),
    "same": (nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2), bias=False), (2, 2, 7, 6)),
    "valid": (nn.Conv2d(2, 3, 3, padding="valid", bias=False), (2, 2, 6, 5)),
    "reflect": (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect", bias=False), (2, 2, 6, 5)),
    "replicate": (nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate", bias=False), (2, 2, 6, 5)),
    "3d": (nn.Conv3d(2, 4, 2, 2, 1, groups=2, bias=False), (2, 2, 5, 4, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_weights_times_columns_are_the_layers_output(name: str) -> None:
    layer, shape = LAYERS[name]
    x = randn(*shape)
    own: Any = layer
    with torch.no_grad():
        wanted = layer(x)
        found = grouped(layer, own.weight) @ columns(layer, x)
    axis = -1 if isinstance(layer, nn.Linear) else 1
    flat = wanted.movedim(axis, 0).reshape(wanted.shape[axis], -1)
    torch.testing.assert_close(found.reshape(flat.shape), flat, rtol=1e-5, atol=1e-5)


def task_of(layer: nn.Module, inputs: list[Tensor], floats: list[Tensor], text: str = "int4 channel:0") -> LayerTask:
    own: Any = layer
    weight = own.weight.detach()
    fake = weight_quantizer("layer", weight, QuantSpec.parse(text))
    return LayerTask("layer", layer, layer, weight, fake, Visit("layer", floats, inputs))


def test_products_are_means_over_all_places_of_all_batches() -> None:
    layer, x, twin = nn.Conv2d(2, 3, 3), randn(5, 2, 6, 6), randn(5, 2, 6, 6, seed=1)
    parts = [slice(0, 2), slice(2, 2), slice(2, 5)]
    found = gram(task_of(layer, [x[p] for p in parts], [twin[p] for p in parts]))
    a, b = (F.unfold(t, 3).permute(1, 0, 2).reshape(18, -1).double() for t in (x, twin))
    torch.testing.assert_close(found.own[0].double(), a @ a.T / a.shape[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.cross[0].double(), b @ a.T / a.shape[1], rtol=1e-5, atol=1e-5)


def test_of_many_places_some_are_drawn_and_the_border_no_more_often_than_others() -> None:
    layer, x = nn.Conv2d(1, 1, 3, padding=1), torch.ones(40, 1, 32, 32)
    found = columns(layer, x)
    assert found.shape == (1, 9, MOST_PLACES)
    assert torch.equal(found, columns(layer, x))
    at_the_border = float((found[0, 3] == 0).float().mean())  # what lies left of a place is padding
    assert at_the_border == pytest.approx(1 / 32, abs=0.01)


def test_half_precision_inputs_are_multiplied_in_float32() -> None:
    layer, x = nn.Linear(4, 2).half(), (randn(100, 4) * 300).half()
    found = gram(task_of(layer, [x], [x]))
    assert found.own.dtype == torch.float32
    assert found.own.isfinite().all()


@pytest.mark.parametrize("inputs", [[], [torch.zeros(0, 4)]])
def test_a_layer_without_samples_is_said(inputs: list[Tensor]) -> None:
    with pytest.raises(UserError, match="has seen no samples") as caught:
        gram(task_of(nn.Linear(4, 2), inputs, inputs))
    assert caught.value.field == "calibration"


def test_a_quantized_input_is_what_a_layer_is_mended_for() -> None:
    """The products are those of the quantized inputs, and those of the float ones beside them."""
    layer, x = nn.Linear(4, 2), randn(50, 4)
    fake = weight_quantizer("x", x, QuantSpec.parse("uint2 affine"))
    task = replace(task_of(layer, [x], [x]), input_quantizer=fake)
    q = fake(x)
    found = gram(task)
    torch.testing.assert_close(found.own[0], q.T @ q / 50)
    torch.testing.assert_close(found.cross[0], x.T @ q / 50)
    handle = quantize_input(layer, fake)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(q, layer.weight, layer.bias))
    handle.remove()
