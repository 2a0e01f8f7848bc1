from pathlib import Path

import torch

from qexplorer.engine.runs.artifacts import save_state


def test_the_size_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.pt"
    size = save_state({"w": torch.ones(1000)}, path)
    assert size == path.stat().st_size > 4000
    assert torch.load(path, weights_only=True)["w"].sum() == 1000
    assert [file.name for file in path.parent.iterdir()] == ["x.pt"]
