"""GGUF's formats in this house: sizes, short blocks, what is left out, what is refused. The bytes have their judge."""

import numpy as np
import pytest

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.gguf_blocks import READ_ONLY, WRITABLE, block_of, decode, pack, unpack
from qexplorer.quant.granularity import PerBlock
from qexplorer.quant.params import QuantParams
from qexplorer.quant.quantize import params_for, quantize

BITS = {"q4_0": 4.5, "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q8_0": 8.5, "tq1_0": 1.6875, "tq2_0": 2.0625}
PLAIN = [name for name in BITS if not name.endswith("_1")]


def spec_of(name: str) -> QuantSpec:
    return QuantSpec(formats[name])


@pytest.mark.parametrize("name", BITS)
def test_bits_per_weight_count_the_whole_block(name: str, rng: np.random.Generator) -> None:
    analysis = finish(analyze(rng.normal(size=(8, 512)).astype(np.float32), spec_of(name)))
    assert analysis.metrics.bits_per_weight == BITS[name]


@pytest.mark.parametrize("name", BITS)
def test_a_short_block_takes_the_room_of_a_whole_one(name: str, rng: np.random.Generator) -> None:
    size, length = block_of(name.upper())
    for row, blocks in ((size + 8, 2), (size - 8, 1)):
        analysis = finish(analyze(rng.normal(size=(3, row)).astype(np.float32), spec_of(name)))
        assert analysis.metrics.bytes == 3 * blocks * length


@pytest.mark.parametrize("name", BITS)
def test_a_short_block_is_quantized_by_its_own_values(name: str, rng: np.random.Generator) -> None:
    size, _ = block_of(name.upper())
    x = rng.normal(loc=5, size=(3, size + 8)).astype(np.float32)
    values = quantize(x, spec_of(name))[1]
    np.testing.assert_array_equal(values[:, :size], quantize(x[:, :size], spec_of(name))[1])
    np.testing.assert_array_equal(values[:, size:], quantize(x[:, size:], spec_of(name))[1])


@pytest.mark.parametrize("name", BITS)
def test_values_that_are_not_finite_change_nothing_for_the_others(name: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 256)).astype(np.float32)
    spoiled = x.copy()
    spoiled[:, [3, 70, 200]] = np.nan, np.inf, -np.inf
    x[:, [3, 70, 200]] = x[:, [4, 71, 201]]
    kept = np.isfinite(spoiled)
    codes, values, _ = quantize(spoiled, spec_of(name))
    np.testing.assert_array_equal(values[kept], quantize(x, spec_of(name))[1][kept])
    assert np.isfinite(values).all()
    assert codes.min() >= formats[name].extent[0]
    metrics = finish(analyze(spoiled, spec_of(name))).metrics
    assert metrics.nonfinite == 6
    assert np.isfinite(metrics.sqnr_db)


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("empty", [0.0, np.nan, np.inf])
def test_a_block_without_a_value_other_than_zero_is_zero(name: str, empty: float) -> None:
    x = np.full((1, 256), empty, np.float32)
    codes, values, params = quantize(x, spec_of(name))
    assert not codes.any()
    assert not values.any()
    assert not params.scale.any()


@pytest.mark.parametrize("name", BITS)
def test_a_value_that_is_not_clipped_errs_by_half_a_step_at_most(name: str, rng: np.random.Generator) -> None:
    form = formats[name]
    for spread in (1.0, 1e-6, 1e4):
        x = (rng.normal(size=(40, 256)) * spread).astype(np.float32)
        rows = spec_of(name).granularity.rows(x)
        params = quantize(x, spec_of(name))[2]
        values = form.dequantize(form.quantize(rows, params), params)
        error = np.abs(values.astype(np.float64) - rows)
        clipped = error > form.half_step(params, float(np.abs(x).max())) + np.abs(x).max() * 2.0**-22
        assert not (clipped & ~form.outside(rows, params)).any()
        low, high = form.reach(params)
        assert (values >= low[:, None]).all()
        assert (values <= high[:, None]).all()


@pytest.mark.parametrize(("name", "extreme"), [("q4_0", 8.0), ("q5_0", 16.0)])
def test_the_end_opposite_the_extreme_is_clipped_by_up_to_half_a_step(name: str, extreme: float) -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, :4] = -extreme, extreme - 0.4, extreme - 0.6, extreme
    codes, values, params = quantize(x, spec_of(name))
    assert values[0, :4].tolist() == [-extreme, extreme - 1, extreme - 1, extreme - 1]
    assert codes[0, :4].tolist() == [-extreme, extreme - 1, extreme - 1, extreme - 1]
    assert formats[name].outside(x, params)[0, :4].tolist() == [False, True, False, True]
    assert quantize(-x, spec_of(name))[2].scale.tolist() == [-1.0]


def test_two_extremes_of_equal_magnitude_are_decided_by_the_first() -> None:
    x = np.zeros((2, 32), np.float32)
    x[0, [5, 9]], x[1, [5, 9]] = (2.0, -2.0), (-2.0, 2.0)
    assert quantize(x, spec_of("q4_0"))[2].scale.tolist() == [-0.25, 0.25]


def test_values_are_divided_by_the_exact_step_and_restored_with_the_stored_one() -> None:
    x = np.linspace(0.1, 1.0, 32, dtype=np.float32)[None]
    params = quantize(x, spec_of("q4_1"))[2]
    assert params.divisor is not None
    assert params.offset is not None
    assert params.subtrahend is not None
    assert params.divisor[0] == np.float32(x[0, -1] - x[0, 0]) / np.float32(15)
    assert params.scale[0] == np.float16(params.divisor[0])
    assert (params.subtrahend[0], params.offset[0]) == (x[0, 0], np.float16(x[0, 0]))
    assert params.offset[0] != params.subtrahend[0]


def test_parameters_of_some_groups_keep_all_that_they_had(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 96)).astype(np.float32)
    params = quantize(x, spec_of("q5_1"))[2]
    rows, form = x.reshape(3, 32), formats["q5_1"]
    np.testing.assert_array_equal(form.quantize(rows[1:], params.take(1, 3)), form.quantize(rows, params)[1:])
    halves = form.quantize(rows.reshape(6, 16), params.repeat(2))
    np.testing.assert_array_equal(halves.reshape(3, 32), form.quantize(rows, params))


@pytest.mark.parametrize("name", BITS)
def test_a_plain_range_has_the_parameters_of_its_two_ends(name: str) -> None:
    params = params_for(spec_of(name), np.float32([-3]), np.float32([2]))
    ends = np.zeros((1, 32), np.float32)
    ends[0, :2] = -3, 2
    np.testing.assert_array_equal(params.scale, quantize(ends, spec_of(name))[2].scale)


@pytest.mark.parametrize("name", BITS)
def test_every_choice_is_the_formats_own(name: str) -> None:
    spec = spec_of(name)
    assert spec.granularity == PerBlock(1, 256 if name.startswith("tq") else 32)
    assert spec.title == name.upper()
    assert QuantSpec.from_json(spec.to_json()) == spec
    for field, value in (("granularity", "tensor"), ("observer", "mse"), ("rounding", "half_up"), ("scheme", "affine")):
        with pytest.raises(UserError, match=rf"{name.upper()} has blocks and a rule of its own.*does not apply"):
            QuantSpec.from_json({"format": name, field: value})


def test_a_tensor_without_values_has_no_blocks() -> None:
    for name in BITS:
        codes, values, params = quantize(np.zeros(0, np.float32), spec_of(name))
        assert codes.shape == values.shape == (0,)
        assert params.scale.shape == (0,)


def test_nibbles_of_the_first_half_are_the_low_ones() -> None:
    x = np.arange(-8, 24, dtype=np.float32)[None]
    x[0, 16:] = 7 - np.arange(16)
    codes, _, params = quantize(x, spec_of("q4_0"))
    packed = pack(codes, params, "Q4_0")[0].tolist()
    assert packed[:2] == [0x00, 0x3C]  # 1 in float16
    assert packed[2:] == [i | (15 - i) << 4 for i in range(16)]


def test_ternary_digits_are_a_fraction_rounded_up() -> None:
    one = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), -1, 1)
    ones = np.ones((1, 256), np.int32)
    assert set(pack(-ones, one, "TQ1_0")[0, :52].tolist()) == {0}
    assert pack(ones, one, "TQ1_0")[0].tolist() == [255] * 48 + [253] * 4 + [0x00, 0x3C]  # 242 and 240 of 243
    first = np.zeros((1, 256), np.int32) - 1
    first[0, 0] = 0  # 81 of 243
    assert pack(first, one, "TQ1_0")[0, :2].tolist() == [86, 0]
    first[0, 32] = 0
    assert pack(first, one, "TQ2_0")[0, :2].tolist() == [0b101, 0]


def test_a_zero_of_mxfp4_is_written_without_a_sign() -> None:
    one = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), 0, 15)
    packed = pack(np.full((1, 32), 8, np.int32), one, "MXFP4")
    assert packed[0].tolist() == [127] + [0] * 16
    negative = np.full((1, 17), 0x88, np.uint8)
    assert not np.signbit(decode(negative, "MXFP4", (32,))).any()


@pytest.mark.parametrize("name", [*WRITABLE, *READ_ONLY])
def test_damaged_data_is_refused(name: str) -> None:
    size, length = block_of(name)
    with pytest.raises(UserError, match=rf"{2 * length - 1} bytes are not the {2 * length} that {name} needs"):
        decode(np.zeros(2 * length - 1, np.uint8), name, (2, size))
    assert decode(np.zeros(0, np.uint8), name, (0, size)).shape == (0, size)
    assert decode(np.zeros(2 * length, np.uint8), name, (2, 1, size)).shape == (2, 1, size)
    if size > 1:
        with pytest.raises(UserError, match=rf"33 values is not a multiple of {name}'s block of {size}"):
            decode(np.zeros(66, np.uint8), name, (2, 33))


@pytest.mark.parametrize("name", READ_ONLY)
def test_types_that_only_llama_cpp_writes_are_refused_with_those_that_can_be_written(name: str) -> None:
    codes = np.zeros((1, 256), np.int32)
    params = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), 0, 15)
    with pytest.raises(UserError, match=rf"{name} can be read but not written.*Q4_0"):
        pack(codes, params, name)
    with pytest.raises(UserError, match="Decode its values"):
        unpack(np.zeros((1, block_of(name)[1]), np.uint8), name)


def test_blocks_of_another_size_and_unknown_types_are_refused() -> None:
    params = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), 0, 15)
    with pytest.raises(UserError, match="Q4_0 has blocks of 32 values, not of 31"):
        pack(np.zeros((1, 31), np.int32), params, "Q4_0")
    with pytest.raises(UserError, match="A block of TQ2_0 has 66 bytes, not 65"):
        unpack(np.zeros((1, 65), np.uint8), "TQ2_0")
    with pytest.raises(UserError, match="A block of BF16 has 2 bytes, not 3"):
        unpack(np.zeros((1, 3), np.uint8), "BF16")
    with pytest.raises(UserError, match=r"no GGUF type “Q9_0”.*Known: Q4_0"):
        decode(np.zeros(18, np.uint8), "Q9_0", (32,))
