"""The engine's fake quantization and its gradients, judged by torch's operators: the forward pass bit for bit, the
straight-through mask exactly, the gradient of a learned scale to the accuracy of its float32 sum.
"""

import numpy as np
import pytest
import torch

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel, PerTensor
from qexplorer.quant.params import QuantParams

JUDGE = "torch fake_quantize"

NAMES = [form.name for form in formats if form.uniform and "scheme" in form.applies]
LEARNED = [name for name in NAMES if not name.endswith("int1")]
CHANNELS = 5


def parameters(name, groups, rng, scheme):
    """Scales around 1/20, zero points anywhere on the grid where affine."""
    form = formats[name]
    qmin, qmax = form.extent[:2]
    scale = rng.uniform(0.01, 0.1, groups).astype(np.float32)
    middle = 0 if form.signed else 2 ** (form.bits - 1)
    zero_point = rng.integers(qmin, qmax + 1, groups) if scheme == "affine" else np.full(groups, middle)
    return QuantParams(scale, zero_point.astype(np.int32), int(qmin), int(qmax))


def inputs(p, rng, ties):
    """Values on both sides of both ends; ties among them, or else none nearer to a tie than 1/20 of a step."""
    scale = torch.from_numpy(p.scale)[:, None]
    steps = rng.integers(-(p.qmax - p.qmin) - 3, p.qmax - p.qmin + 4, (CHANNELS, 500))
    x = torch.from_numpy((steps + rng.uniform(-0.45, 0.45, steps.shape)).astype(np.float32)) * scale
    x[:, :4] = torch.tensor([0, -0.0, 1e-40, -1e-45])
    if ties:
        x[:, 4:6] = torch.tensor([1e12, -1e12])
        x[:, 6:198] = (torch.arange(192) - 96 + 0.5) * scale
    return x


def ours(name, scheme, p, x, slopes, **more):
    granularity = PerTensor() if len(p.scale) == 1 else PerChannel(0)
    spec = QuantSpec(format=formats[name], scheme=scheme, convention=convention(name, scheme), granularity=granularity)
    module = FakeQuantize(spec, p, **more)
    x = x.clone().requires_grad_()
    y = module(x)
    y.backward(slopes)
    return y.detach(), x.grad, module.scale.grad


def convention(name, scheme):
    return "full_span" if scheme == "symmetric" else "restricted"


def judged(p, x, slopes):
    x = x.clone().requires_grad_()
    if len(p.scale) == 1:
        y = torch.fake_quantize_per_tensor_affine(x, float(p.scale[0]), int(p.zero_point[0]), p.qmin, p.qmax)
    else:
        scale, zero_point = torch.from_numpy(p.scale), torch.from_numpy(p.zero_point)
        y = torch.fake_quantize_per_channel_affine(x, scale, zero_point, 0, p.qmin, p.qmax)
    y.backward(slopes)
    return y.detach(), x.grad


def judged_learning(p, x, slopes, gain):
    """Also a single scale goes to the operator for channels where the zero point is below zero: the backward pass of
    the one for tensors truncates z + ½, so that it clips one step beside where its own forward pass does.
    """
    rows = x.reshape(len(p.scale), -1).clone().requires_grad_()
    scale = torch.from_numpy(p.scale.copy()).requires_grad_()
    zero_point = torch.from_numpy(p.zero_point.astype(np.float32)).requires_grad_()
    if len(p.scale) == 1 and p.zero_point[0] >= 0:
        y = torch._fake_quantize_learnable_per_tensor_affine(rows, scale, zero_point, p.qmin, p.qmax, gain)
    else:
        y = torch._fake_quantize_learnable_per_channel_affine(rows, scale, zero_point, 0, p.qmin, p.qmax, gain)
    y.backward(slopes.reshape(rows.shape))
    return y.detach().reshape(x.shape), rows.grad.reshape(x.shape), scale.grad


@pytest.mark.parametrize("groups", [1, CHANNELS])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradient_masks_are_torchs(name, scheme, groups, rng, verdict):
    for _ in range(4):
        p = parameters(name, groups, rng, scheme)
        x = inputs(p, rng, ties=True)
        if groups == 1:
            x[:, -2:] = torch.tensor([np.inf, -np.inf])
        slopes = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
        values, dx, _ = ours(name, scheme, p, x, slopes)
        their_values, their_dx = judged(p, x, slopes)
        assert torch.equal(values.view(torch.int32), their_values.view(torch.int32))
        assert torch.equal(dx, their_dx)
    verdict.checked(4, formats=(name,))
    if groups > 1:
        why = "torch's operator turns them into int64 first, and they wrap"
        verdict.not_applicable("quotients beyond 2⁶³ per channel", why)


@pytest.mark.parametrize("groups", [1, CHANNELS])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("name", LEARNED)
def test_the_gradient_of_a_learned_scale_is_torchs(name, scheme, groups, rng, verdict):
    """With the gain that LSQ prescribes, 1/√(N·Q_P); torch takes one for all channels, so they share a zero point.

    Without a zero point ties are judged too. With one, torch's backward rounds x·(1/s) + z in a single fused step,
    where its own forward rounds x·(1/s) first: at ties the two disagree, and with them the gradient.
    """
    p = parameters(name, groups, rng, scheme)
    p.zero_point[:] = p.zero_point[0]
    x = inputs(p, rng, ties=not p.zero_point.any()).clamp(-1e4, 1e4)
    slopes = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
    positive = max(p.qmax - int(p.zero_point[0]), (p.qmax - p.qmin) // 2)
    gain = 1 / (x.numel() / groups * positive) ** 0.5
    values, dx, ds = ours(name, scheme, p, x, slopes, learn_scale=True)
    their_values, their_dx, their_ds = judged_learning(p, x, slopes, gain)
    assert torch.equal(values.view(torch.int32), their_values.view(torch.int32))
    assert torch.equal(dx, their_dx)
    terms = float((slopes.abs().sum(dim=-1) * (p.qmax - p.qmin)).max()) * gain
    torch.testing.assert_close(ds, their_ds, rtol=0, atol=terms * 2.0**-22)
    verdict.checked(formats=(name,))
    if p.zero_point.any():
        why = "torch's learned backward rounds after the zero point is added"
        verdict.not_applicable("ties beside a zero point", why)
    if p.zero_point[0] < 0 and groups == 1:
        why = "torch's learned backward is off by one; judged by the operator for channels"
        verdict.not_applicable("zero points below 0 per tensor", why)
