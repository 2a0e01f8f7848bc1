"""The observers beyond min/max, against torch's own, published constants, closed forms and brute force."""

import math

import numpy as np
import pytest
import torch

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.grid_target import target
from qexplorer.quant.observers import observers
from qexplorer.quant.observers.aciq import best_clip
from qexplorer.quant.quantize import find_range, quantize


def spec(text: str, **fields: str) -> QuantSpec:
    return QuantSpec.from_json({"format": "int8", "observer": text, **fields})


def stream(text: str, blocks: list[np.ndarray], **fields: str) -> tuple[np.ndarray, np.ndarray]:
    chosen = spec(text, **fields)
    stats = None
    for block in blocks:
        stats = chosen.observer.update(stats, block)
    return finish(chosen.observer.search(stats, target(chosen)))


@pytest.mark.parametrize("constant", [0.01, 0.5])
def test_the_moving_average_is_torchs_over_a_stream(constant, rng, quiet_torch_ao):
    from torch.ao.quantization import MovingAveragePerChannelMinMaxObserver

    theirs = MovingAveragePerChannelMinMaxObserver(averaging_constant=constant, ch_axis=0)
    blocks = [rng.normal(size=(6, 50)).astype(np.float32) * (i + 1) for i in range(20)]
    for each in blocks:
        theirs(torch.from_numpy(each))
    lo, hi = stream(f"moving_average:{constant}", blocks, granularity="channel:0")
    np.testing.assert_array_equal(lo, theirs.min_val.numpy())
    np.testing.assert_array_equal(hi, theirs.max_val.numpy())


def test_the_moving_average_of_one_range_is_torchs_bit_for_bit(rng, quiet_torch_ao):
    from torch.ao.quantization import MovingAverageMinMaxObserver

    theirs = MovingAverageMinMaxObserver()
    blocks = [(rng.laplace(size=(1, 300)) * scale).astype(np.float32) for scale in rng.uniform(0.1, 10, 50)]
    for each in blocks:
        theirs(torch.from_numpy(each))
    (lo,), (hi,) = stream("moving_average", blocks)
    assert (lo, hi) == (theirs.min_val.numpy(), theirs.max_val.numpy())


def test_a_block_without_finite_values_does_not_move_the_average():
    empty = np.full((1, 4), np.nan, np.float32)
    lo, hi = stream(
        "moving_average:0.5", [empty, np.array([[1, 3]], np.float32), empty, np.array([[3, 5]], np.float32)]
    )
    assert (lo.tolist(), hi.tolist()) == ([2.0], [4.0])


def test_the_square_of_the_error_is_what_mse_makes_small(rng):
    x = rng.laplace(size=(1, 4000)).astype(np.float32)
    assert find_range(spec("lp:2"), x) == find_range(spec("mse"), x)


def test_a_higher_power_of_the_error_clips_less(rng):
    x = rng.laplace(size=(1, 20_000)).astype(np.float32)
    clips = [float(find_range(spec(f"lp:{p}", format="int4"), x)[1][0]) for p in (1, 2, 4, 8)]
    assert clips == sorted(clips)
    assert clips[0] < clips[-1]


@pytest.mark.parametrize(
    ("distribution", "bits", "constant"),
    [  # Banner et al. 2019, the constants of their program; σ = 1 and b = 1
        ("gauss", 2, 1.71063519), ("gauss", 3, 2.15159277), ("gauss", 4, 2.55913646), ("gauss", 5, 2.93620062),
        ("gauss", 6, 3.28691474), ("gauss", 7, 3.6151146), ("gauss", 8, 3.92403714),
        ("laplace", 2, 2.83068299), ("laplace", 3, 3.89722946), ("laplace", 4, 5.02864014), ("laplace", 5, 6.20476633),
        ("laplace", 6, 7.41312622), ("laplace", 7, 8.64561995), ("laplace", 8, 9.89675982),
    ],
)  # fmt: skip
def test_aciq_has_the_published_clips(distribution, bits, constant):
    assert best_clip(distribution, bits) == pytest.approx(constant, rel=2e-5)


def test_aciq_measures_the_spread_around_the_mean_and_never_leaves_the_data(rng):
    x = (rng.normal(3, 2, (1, 200_000))).astype(np.float32)
    lo, hi = find_range(spec("aciq:gauss", format="uint4", scheme="affine"), x)
    assert float(hi[0] + lo[0]) / 2 == pytest.approx(3, abs=0.02)
    assert float(hi[0] - lo[0]) / 2 == pytest.approx(2 * best_clip("gauss", 4), rel=0.01)
    short = np.array([[-1, 1]], np.float32)
    assert [float(end[0]) for end in find_range(spec("aciq:laplace"), short)] == [-1, 1]


@pytest.mark.parametrize(
    ("bits", "clip"), [(2, 1.73884), (3, 2.16112), (4, 2.56209), (5, 2.93707), (6, 3.28716), (7, 3.61518), (8, 3.92405)]
)
def test_octav_finds_the_known_clip_of_normal_values(bits, clip, rng):
    x = rng.normal(size=(1, 1_000_000)).astype(np.float32)
    assert float(find_range(spec("octav", format=f"int{bits}"), x)[1][0]) == pytest.approx(clip, rel=0.01)


def test_octav_stands_still_at_its_clip(rng):
    x = np.abs(rng.laplace(size=(1, 5000)).astype(np.float32))
    s = float(find_range(spec("octav", format="int4", scheme="affine"), x)[1][0])
    beyond = x > s
    below = 4.0**-4 / 3 * (x <= s).mean() + beyond.mean()
    assert float(x[beyond].sum() / x.size / below) == pytest.approx(s, rel=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("values", [[0.0] * 999 + [1.0], [-0.1, 0.1] * 50, [0.3] * 7, [-0.07, 0.0, 0.07] * 33])
def test_octav_keeps_a_magnitude_that_all_values_share(values, bits):
    lo, hi = find_range(spec("octav", format=f"int{bits}"), np.array([values], np.float32))
    assert max(-lo[0], hi[0]) == np.float32(max(values))


def hqq_of_torchao(x: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    from torchao.quantization.quant_primitives import _choose_qparams_and_quantize_affine_hqq

    _, scale, zero, _ = _choose_qparams_and_quantize_affine_hqq(
        torch.from_numpy(x), nbits=bits, group_size=x.shape[1], optimize=True, axis=1, compute_dtype=torch.float32,
        device="cpu", verbose=False, raw_output=True,
    )  # fmt: skip
    return scale.numpy().ravel(), zero.numpy().ravel()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_hqq_has_the_zero_points_of_torchao(bits, rng):
    x = rng.laplace(size=(512, 64)).astype(np.float32)
    lo, hi = find_range(spec("hqq", format=f"uint{bits}", scheme="affine_float", granularity="channel:0"), x)
    scale, zero = hqq_of_torchao(x, bits)
    ours = (hi.astype(np.float64) - lo) / (2**bits - 1)
    np.testing.assert_allclose(ours, scale, rtol=1e-6)
    np.testing.assert_allclose(-lo / ours, zero, atol=1e-5)


def test_hqq_errs_less_than_minmax_in_its_own_measure(rng):
    x = rng.standard_t(3, size=(256, 64)).astype(np.float32)
    fields = {"format": "uint4", "scheme": "affine_float", "granularity": "channel:0"}
    error = {o: np.abs(quantize(x, spec(o, **fields))[1] - x).astype(np.float64) for o in ("hqq", "minmax")}
    assert (error["hqq"] ** 0.7).mean() < (error["minmax"] ** 0.7).mean()


def test_entropy_leaves_out_a_lone_outlier(rng):
    """NVIDIA ModelOpt's calibrator test: one value of 10 beside values between 0 and 1."""
    x = np.append(rng.uniform(0, 1, 99_999), 10).astype(np.float32)[None]
    assert float(find_range(spec("entropy"), x)[1][0]) < 1.1


def brute_force_entropy(x: np.ndarray, levels: int) -> float:
    """The paper's recipe, value by value."""
    counts, edges = np.histogram(np.abs(x), 2048, (0, np.abs(x).max()))
    best = (math.inf, 0)
    for i in range(levels, 2049):
        p = counts[:i].astype(float)
        p[-1] += counts[i:].sum()
        q = np.zeros(i)
        for k in range(levels):
            first, last = k * i // levels, (k + 1) * i // levels
            cell = counts[first:last]
            if (cell > 0).any():
                q[first:last] = np.where(cell > 0, cell.sum() / (cell > 0).sum(), 0)
        used = p > 0
        if (q[used] > 0).all():
            pn, qn = p[used] / p.sum(), q[used] / q.sum()
            best = min(best, (float((pn * np.log(pn / qn)).sum()), i))
    return (best[1] + 0.5) * float(edges[1])


@pytest.mark.parametrize("bits", [4, 8])
def test_entropy_is_the_recipe_done_plainly(bits, rng):
    x = rng.standard_t(4, size=(1, 20_000)).astype(np.float32)
    clip = min(brute_force_entropy(x, 2 ** (bits - 1)), float(np.abs(x).max()))
    lo, hi = find_range(spec("entropy", format=f"int{bits}"), x)
    assert max(-float(lo[0]), float(hi[0])) == pytest.approx(clip, rel=1e-5)


def test_entropy_is_near_the_threshold_of_onnx_runtime(rng):
    """ONNX Runtime counts signed values, so that half its bins and levels lie on each side; it merges whole bins only
    and smooths. Near the least the divergence is flat: for normal values the two stay within a few per cent.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    x = rng.normal(size=(1, 500_000)).astype(np.float32)
    theirs = HistogramCollector("entropy", True, 2048, 128, 99.99, "same")
    theirs.collect({"x": [x]})
    clip = float(theirs.compute_collection_result()["x"][1])
    assert float(find_range(spec("entropy"), x)[1][0]) == pytest.approx(clip, rel=0.08)


def test_values_at_the_end_of_float32_give_finite_ranges(rng):
    x = (rng.uniform(-3.4, 3.4, (1, 200)) * 1e38).astype(np.float32)
    for text, scheme in (("hqq", "affine"), ("optimal", "affine"), ("octav", "symmetric"), ("aciq", "symmetric")):
        lo, hi = find_range(spec(text, format="uint4", scheme=scheme), x)
        assert np.isfinite([lo, hi]).all()
        assert lo[0] < 0 < hi[0]


def test_absmean_is_the_mean_magnitude():
    x = np.array([[0.8, -0.5, 1.2, -1.5, 0.4, -0.9, 1.3, -0.7, 0.2]], np.float32)
    assert float(find_range(spec("absmean"), x)[1][0]) == pytest.approx(0.83333, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "fields"),
    [("mse", {}), ("lp:3", {}), ("percentile:99", {}), ("entropy", {}), ("aciq:gauss", {}), ("aciq:laplace", {}),
     ("octav", {}), ("absmean", {}), ("optimal", {"format": "int4"}), ("hqq", {"scheme": "affine"})],
)  # fmt: skip
def test_the_order_of_a_stream_does_not_matter(text, fields, rng):
    blocks = [rng.standard_t(3, size=(1, 3000)).astype(np.float32) * scale for scale in (1, 4, 0.2)]
    for ahead, behind in zip(stream(text, blocks, **fields), stream(text, blocks[::-1], **fields), strict=True):
        np.testing.assert_allclose(ahead, behind, rtol=1e-6)


@pytest.mark.parametrize("cls", list(observers), ids=lambda c: c.name)
def test_values_that_are_no_numbers_and_groups_without_any_are_left_out(cls, rng):
    x = rng.normal(size=(3, 40)).astype(np.float32)
    x[0, 3], x[1, 5] = np.nan, np.inf
    x[2] = np.nan
    scheme = "affine" if cls.name == "hqq" else "symmetric"
    granularity = "tensor" if cls.name in ("histogram", "entropy") else "channel:0"
    rows = x[:1] if granularity == "tensor" else x
    lo, hi = find_range(spec(cls().text, format="int4", scheme=scheme, granularity=granularity), rows)
    assert np.isfinite([lo, hi]).all()
    assert (lo < hi)[:2].all()
    if cls.name != "fixed" and len(rows) == 3:
        assert (lo[2], hi[2]) == (0, 0)


@pytest.mark.parametrize("cls", list(observers), ids=lambda c: c.name)
def test_memory_does_not_grow_with_the_stream(cls, rng):
    def held(value: object) -> int:
        if isinstance(value, np.ndarray):
            return value.nbytes
        parts = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
        return sum(held(part) for part in parts)

    stats, sizes = None, []
    for _ in range(30):
        stats = cls().update(stats, rng.normal(size=(1, 60_000)).astype(np.float32))
        sizes.append(held(stats))
    assert sizes[-1] <= 65_536 * 60
    assert sizes[-1] <= 1.3 * sizes[9]


@pytest.mark.parametrize(
    ("observer", "fields", "reason"),
    [
        ("hqq", {}, "no"), ("entropy", {"granularity": "channel:0"}, "one range"),
        ("entropy", {"format": "nf4"}, "evenly"), ("optimal", {"format": "int16"}, "at most 8 bits"),
        ("optimal", {"format": "int8", "scheme": "affine"}, "at most 4"),
        ("optimal", {"scale_dtype": "float16"}, "float32"), ("aciq:cauchy", {}, "gauss, laplace"), ("lp:0", {}, "0.5"),
        ("moving_average:0", {}, "above 0"),
    ],
)  # fmt: skip
def test_what_an_observer_cannot_do_is_refused_by_name(observer, fields, reason):
    with pytest.raises(UserError, match=reason) as refused:
        spec(observer, **fields)
    assert refused.value.field == "observer"


@pytest.mark.parametrize("rounding", ["toward_zero", "stochastic:1"])
def test_the_optimum_is_refused_beside_a_rounding_that_does_not_take_the_nearest_level(rounding):
    with pytest.raises(UserError, match="nearest level") as refused:
        spec("optimal", format="int4", rounding=rounding)
    assert refused.value.field == "rounding"
    assert spec("mse", rounding=rounding).adopt("observer", observers.parse("optimal")).rounding.text == "half_even"
