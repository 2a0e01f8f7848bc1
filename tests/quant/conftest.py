"""What the tests of this room share: quiet judges and a seeded source of numbers."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("quant", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quant")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250101)


@pytest.fixture
def quiet_torch_ao() -> Iterator[None]:
    """torch.ao announces its own deprecation, and tells where it leaves out infinite values."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"torch\.ao\.quantization is deprecated")
        warnings.filterwarnings("ignore", message=r"torch\.inf detected in input tensor")
        yield
