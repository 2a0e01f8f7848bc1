from pathlib import Path

import numpy as np
import pytest
from forgeries import opened

from qexplorer.errors import UserError
from qexplorer.weights import DISTRIBUTIONS, is_synthetic


def test_a_tensor_of_each_distribution_is_made() -> None:
    checkpoint = opened("synthetic")
    names = [tensor.name for tensor in checkpoint.tensors]
    assert names == ["normal", "laplace", "uniform", "student_t", "exponential"]
    for tensor in checkpoint.tensors:
        values = checkpoint.read(tensor)
        assert (values.dtype, values.shape) == (np.float32, (20_000,))


def test_the_settings_follow_the_name() -> None:
    checkpoint = opened("synthetic:laplace,3000000,7")
    (tensor,) = checkpoint.tensors
    assert (tensor.name, tensor.n, checkpoint.metadata["seed"]) == ("laplace", 3_000_000, "7")
    values = checkpoint.read(tensor)
    assert values.std() == pytest.approx(2**0.5, rel=0.01)


def test_the_same_seed_gives_the_same_values_and_another_gives_others() -> None:
    def values(text: str) -> np.ndarray:
        checkpoint = opened(text)
        return checkpoint.read(checkpoint.tensor("normal"))

    np.testing.assert_array_equal(values("synthetic:normal"), values("synthetic"))
    assert not np.array_equal(values("synthetic:normal"), values("synthetic:normal,20000,1"))


@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [("normal", 0, 1), ("laplace", 0, 2**0.5), ("uniform", 0, 3**-0.5), ("exponential", -5, 2)],
)
def test_the_moments_are_those_of_the_distribution(name: str, mean: float, deviation: float) -> None:
    checkpoint = opened(f"synthetic:{name},200000")
    values = checkpoint.read(checkpoint.tensor(name)).astype(np.float64)
    assert values.mean() == pytest.approx(mean, abs=0.02)
    assert values.std() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize(
    "text",
    ["synthetic:cauchy", "synthetic:normal,0", "synthetic:normal,x", "synthetic:normal,9,-1", "synthetic:a,1,1,1"],
)
def test_a_source_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        opened(text)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("synthetic", True),
        ("synthetic:", True),
        ("synthetic:laplace,9", True),
        ("synthetic:" + "n" * 10_000, True),
        ("synthetic_digits.npz", False),
        ("synthetics", False),
        ("./synthetic", False),
        ("Synthetic", False),
        ("", False),
    ],
)
def test_the_text_of_a_source_is_told_from_a_path(text: str, asks: bool) -> None:
    assert is_synthetic(text) == asks


def test_a_file_of_that_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").touch()
    assert not is_synthetic("synthetic")
    assert is_synthetic("synthetic:normal")


def test_every_distribution_can_be_asked_for() -> None:
    for name in DISTRIBUTIONS:
        assert [tensor.name for tensor in opened(f"synthetic:{name}").tensors] == [name]


def test_a_folder_of_that_name_is_opened_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").mkdir()
    with pytest.raises(UserError, match="a folder without weight files"):
        opened("synthetic")
