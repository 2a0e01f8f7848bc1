import numpy as np
import pytest
import torch

from qexplorer.weights.dtypes import DTYPES

NARROW = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"]


@pytest.mark.parametrize("name", NARROW)
def test_every_code_of_a_narrow_type_means_what_torch_says(name: str) -> None:
    raw = np.arange(65536, dtype=np.uint16) if name == "bfloat16" else np.arange(256, dtype=np.uint8)
    judge = torch.from_numpy(raw.copy()).view(getattr(torch, name)).float().numpy()
    values = DTYPES[name].decode(raw)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, judge)
    numbers = ~np.isnan(judge)
    np.testing.assert_array_equal(values[numbers].view(np.uint32), judge[numbers].view(np.uint32))


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_has_torchs_name_and_size(name: str) -> None:
    assert getattr(torch, name).itemsize == DTYPES[name].raw.itemsize


def test_any_byte_but_nought_is_true() -> None:
    values = DTYPES["bool"].decode(np.array([0, 1, 2, 255], np.uint8))
    np.testing.assert_array_equal(values, [False, True, True, True])
