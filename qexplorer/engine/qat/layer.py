"""A layer that computes with quantized weights and inputs while it is trained, batch norm folded in."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.simulation.layers import quantized_input
from qexplorer.engine.simulation.prepared import TRANSPOSED
from qexplorer.quant.params import QuantParams
from qexplorer.quant.recipe import LayerSpec

LEAST = 1e-6
"""The least magnitude of a folding factor by which outputs are divided."""


class QatLayer(nn.Module):
    """A convolution or linear map, and the batch norm after it if there is one.

    With batch norm the weights that are quantized are W·γ/σ, σ from the running variance. While the norm trains, the
    quantized weights are divided by γ/σ again and the norm works with the batch's own statistics; once it is frozen,
    the output is that of the folded layer, which is what is deployed (Jacob et al. 2018, section 3.2; the correction is
    that of Krishnamoorthi 2018, section 3.2.2). `params` are those that the weights have already, if they have.
    """

    def __init__(
        self,
        layer: nn.Module,
        norm: nn.Module | None,
        spec: LayerSpec,
        *,
        learn: bool,
        params: QuantParams | None = None,
    ) -> None:
        super().__init__()
        self.layer: Any = layer
        self.norm: Any = norm
        self.weight_fake = FakeQuantize(spec.weights, params, learn_scale=learn) if spec.weights else None
        self.input_fake: FakeQuantize | None = None
        if params is None:
            self.observe_weights()
        elif self.weight_fake is not None:
            self.weight_fake.to(self.layer.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.input_fake is None else quantized_input(self.layer, x, self.input_fake)
        if self.norm is None:
            return self._compute(x, self.weight(), self.layer.bias)
        if not self.norm.training:
            return self._compute(x, self.weight(), self.bias())
        factor = self.factor()
        safe = torch.where(factor.abs() < LEAST, torch.full_like(factor, LEAST), factor)
        weight = self.weight()
        unfolded = weight / safe.reshape(-1, *[1] * (weight.ndim - 1))  # as if the output were divided, but less work
        return self.norm(self._compute(x, unfolded, self.layer.bias))

    def factor(self) -> Tensor:
        """γ/σ of each output channel."""
        gamma = self.norm.weight if self.norm.weight is not None else torch.ones_like(self.norm.running_var)
        return gamma / torch.sqrt(self.norm.running_var + self.norm.eps)

    def folded(self) -> Tensor:
        """The weights with batch norm in them, before they are quantized."""
        weight = self.layer.weight
        return weight if self.norm is None else weight * self.factor().reshape(-1, *[1] * (weight.ndim - 1))

    def weight(self) -> Tensor:
        """The weights that the layer computes with."""
        weight, fake = self.folded(), self.weight_fake
        return weight if fake is None else fake(weight)

    def bias(self) -> Tensor | None:
        """The bias with batch norm in it."""
        own = self.layer.bias
        if self.norm is None:
            return own
        beta = self.norm.bias if self.norm.bias is not None else torch.zeros_like(self.norm.running_mean)
        return beta + ((0 if own is None else own) - self.norm.running_mean) * self.factor()

    def observe_weights(self) -> None:
        """Choose the weights' parameters anew from what they are now."""
        if self.weight_fake is not None:
            with torch.no_grad():
                self.weight_fake.calibrate([self.folded()])

    def plain(self) -> nn.Module:
        """The layer without batch norm and without quantizers: its weights are the quantized values."""
        with torch.no_grad():
            layer: Any = copy.deepcopy(self.layer)
            layer.weight = nn.Parameter(self.weight().clone(), requires_grad=False)
            bias = self.bias()
            layer.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)
        return layer

    def _compute(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, bias)
        if isinstance(self.layer, TRANSPOSED):
            own = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
            return torch.func.functional_call(self.layer, own, (x,))
        return self.layer._conv_forward(x, weight, bias)
