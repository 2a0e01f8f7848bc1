"""Models in files of one's own, as the tests of them need them."""

from pathlib import Path

import pytest
import torch

from qexplorer.engine.models import Model
from qexplorer.errors import UserError
from qexplorer.progress import finish

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def refused(model: Model, weights: Path | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        finish(model.load(weights))
    assert caught.value.field == "model"
    assert str(caught.value).isprintable()
    return caught.value
