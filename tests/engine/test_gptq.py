"""GPTQ before judges: closed forms, every rounding tried, and torchao's own."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from roundings import correlated, cost, grid_of, nearest
from small_nets import randn
from torch import Tensor, nn

from qexplorer.engine.repair import gptq as gptq_room
from qexplorer.engine.simulation.gram import Gram, grouped
from qexplorer.errors import UserError
from qexplorer.progress import finish

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHT_SPECS = (
    "int4 channel:0", "int3 group:8", "uint4 affine group:12", "int4 affine_float group:8", "int4 signed_extreme",
    "int8 half_away channel:1", "ternary channel:0", "nf4 group:8", "binary", "fp4_e2m1 channel:0", "fp8_e4m3fn",
    "fp16", "mxfp4", "nvfp4", "mxint8", "q4_0", "q5_1", "kmeans2 channel:0", "int4 block:2x8",
)  # fmt: skip


def gptq(weight: Tensor, products: Tensor, text: str) -> Tensor:
    return finish(gptq_room.rounded(weight[None], products, grid_of(weight, text)))[0]


def damped(products: Tensor) -> Tensor:
    return products + gptq_room.DAMPING * products[0].diagonal().mean() * torch.eye(products.shape[1])


@pytest.mark.parametrize("text", WEIGHT_SPECS)
def test_with_inputs_that_have_nothing_in_common_gptq_rounds_to_nearest(text: str) -> None:
    weight = randn(6, 100)
    assert torch.equal(gptq(weight, torch.eye(100)[None], text), nearest(weight, text))


@pytest.mark.parametrize("text", WEIGHT_SPECS)
def test_what_gptq_chooses_are_levels_of_the_grid(text: str) -> None:
    weight = randn(6, 100)
    chosen = gptq(weight, correlated(400, 100), text)
    grid = grid_of(weight, text)
    again = torch.stack([grid.nearest(chosen[:, k], k) for k in range(100)], dim=1)
    torch.testing.assert_close(again, chosen, rtol=1e-6, atol=1e-7)  # two-level scales: divided by another than stored
    assert not torch.equal(chosen, nearest(weight, text)) or text in ("fp16", "binary")


@pytest.mark.parametrize(
    "text", ["int4 channel:0", "int3 group:8 mse", "uint4 affine group:16", "nf4 group:8", "mxfp4"]
)
@pytest.mark.parametrize("seed", range(3))
def test_on_inputs_that_are_alike_gptq_errs_less(text: str, seed: int) -> None:
    weight, products = randn(12, 96, seed=seed), correlated(300, 96, seed)
    own = cost(weight, gptq(weight, products, text), products)
    plain = cost(weight, nearest(weight, text), products)
    assert float(own.sum()) < 0.8 * float(plain.sum())
    assert (own < plain).float().mean() > 0.8


def test_the_last_column_is_the_best_one_for_those_before_it() -> None:
    """With the errors e of all others, ΔW·H·ΔWᵀ is least where the last weight is w + Σ e·H / H of it with itself."""
    weight, products = randn(8, 24), correlated(100, 24)
    chosen, h = gptq(weight, products, "int4 channel:0"), damped(products)[0].double()
    error = (weight - chosen).double()
    aim = weight[:, -1].double() + error[:, :-1] @ h[:-1, -1] / h[-1, -1]
    grid = grid_of(weight, "int4 channel:0")
    assert torch.equal(chosen[:, -1], grid.nearest(aim.float(), 23))


def test_what_is_rounded_gives_the_float_outputs_from_the_quantized_inputs() -> None:
    """By torch's own least squares, the damping being so many more samples in which nothing was quantized."""
    weight, x = randn(5, 12), randn(40, 12, seed=1)
    seen = x + 0.3 * randn(40, 12, seed=2)
    own, cross = seen.T @ seen / 40, x.T @ seen / 40
    damping = gptq_room.DAMPING * own.diagonal().mean()
    rows = (40 * damping).sqrt() * torch.eye(12)
    judge = torch.linalg.lstsq(torch.cat([seen, rows]).double(), (torch.cat([x, rows]) @ weight.T).double())
    found = gptq_room.wanted(weight[None], Gram(own[None], cross[None]))[0]
    torch.testing.assert_close(found, judge.solution.T.float(), rtol=1e-3, atol=1e-4)


def every_rounding(weight: Tensor, text: str) -> Iterator[Tensor]:
    """All ways to put the weights [1, K] on the levels of their grid, many at a time: [n, K]."""
    scale, low, high, offset = (part[0] for part in grid_of(weight, text).whole())
    choices = [torch.arange(int(a), int(b) + 1) * s + o for s, a, b, o in zip(scale, low, high, offset, strict=True)]
    yield torch.cartesian_prod(*choices)


@pytest.mark.parametrize("text", ["int2", "uint2 affine"])
def test_no_rounding_of_eight_weights_is_better_than_the_best_and_gptq_is_close_to_it(text: str) -> None:
    ratios: list[tuple[float, float]] = []
    for seed in range(12):
        weight, products = randn(1, 8, seed=seed), correlated(50, 8, seed)
        h = damped(products)
        best = min(float(cost(weight, part, h).min()) for part in every_rounding(weight, text))
        found, plain = (float(cost(weight, w, h)) for w in (gptq(weight, products, text), nearest(weight, text)))
        assert found >= best * (1 - 1e-5)
        ratios.append((found / best, plain / best))
    own, others = np.median(ratios, axis=0)
    assert own < 1.6
    assert own < others


def test_an_input_that_is_always_zero_neither_fails_nor_is_made_use_of() -> None:
    weight, products = randn(5, 20), correlated(60, 20)
    products[:, 7], products[:, :, 7] = 0, 0
    chosen = gptq(weight, products, "int4 channel:0")
    assert torch.equal(chosen[:, 7], nearest(weight, "int4 channel:0")[:, 7])
    assert torch.equal(gptq(weight, torch.zeros_like(products), "int4 channel:0"), nearest(weight, "int4 channel:0"))


def test_one_sample_is_enough_to_go_by() -> None:
    weight, x = randn(5, 40), randn(1, 40, seed=3)
    products = (x.T @ x)[None]
    chosen = gptq(weight, products, "int3 channel:0")
    assert float(cost(weight, chosen, products).sum()) < float(
        cost(weight, nearest(weight, "int3 channel:0"), products).sum()
    )


def test_products_without_an_inverse_are_refused() -> None:
    with pytest.raises(UserError, match="no inverse"):
        gptq(randn(2, 4), torch.full((1, 4, 4), torch.nan), "int4")


def test_blocks_of_columns_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, products = randn(4, 90), correlated(200, 90)
    whole = gptq(weight, products, "int4 channel:0")
    for block in (1, 7, 90):
        monkeypatch.setattr(gptq_room, "BLOCK", block)
        other = gptq(weight, products, "int4 channel:0")
        assert (other == whole).float().mean() > 0.97  # sums in another order: a tie may fall otherwise


def test_groups_of_a_convolution_are_rounded_each_with_its_own_inputs() -> None:
    weight = randn(6, 2, 3, 3)
    products = torch.cat([correlated(90, 18, seed) for seed in range(3)])
    layer = nn.Conv2d(6, 6, 3, groups=3)
    whole = finish(gptq_room.rounded(grouped(layer, weight), products, grid_of(weight, "int4 channel:0")))
    for g in range(3):
        part = weight[2 * g : 2 * g + 2]
        assert torch.equal(whole[g], gptq(part.flatten(1), products[g : g + 1], "int4 channel:0"))


@pytest.fixture(scope="module")
def torchao_gptq() -> Any:
    """torchao's function, told that it may run on a CPU."""
    api = pytest.importorskip("torchao.prototype.gptq.api")
    source = inspect.getsource(api.gptq_quantize)
    for line in ('assert device.type == "cuda", "GPTQ only supports CUDA currently"', "torch.cuda.synchronize()"):
        if line not in source:
            pytest.skip("torchao's GPTQ is another one")
        source = source.replace(line, "pass")
    names = dict(vars(api))
    exec(source, names)  # noqa: S102
    return names["gptq_quantize"]


@pytest.mark.parametrize("shape", [(16, 96), (5, 200)])
def test_torchao_chooses_the_same_codes(torchao_gptq: Any, shape: tuple[int, int]) -> None:
    from torchao.prototype.gptq import GPTQConfig
    from torchao.quantization import Int8WeightOnlyConfig
    from torchao.quantization.granularity import PerRow

    weight, products = randn(*shape), correlated(4 * shape[1], shape[1])
    config = GPTQConfig(step="convert", base_config=Int8WeightOnlyConfig(granularity=PerRow()), percdamp=0.01)
    theirs = torchao_gptq(products[0].clone(), weight.clone(), config)
    spec = "int8 full_span channel:0 true"
    codes = (gptq(weight, products, spec) / theirs.scale).round()
    assert (codes == theirs.qdata).float().mean() > 0.97  # after a tie that falls otherwise a row goes its own way
    assert (codes - theirs.qdata).abs().max() <= 1
    own = cost(weight, codes * theirs.scale, products).sum()
    assert float(own / cost(weight, theirs.dequantize(), products).sum()) == pytest.approx(1, abs=0.02)
