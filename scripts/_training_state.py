"""A training that goes on after an epoch as if it had never stopped."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qexplorer.folders import write_whole


class TrainingState:
    """What the finished epochs left behind, in a file beside the weights to come, until those are written.

    `parts` are what has a `state_dict`; `settings` is what the result depends on: a file of others is not gone on with.
    """

    def __init__(
        self, out: Path, settings: Mapping[str, Any], parts: Mapping[str, Any], order: torch.Generator
    ) -> None:
        self.path = out.with_name(f"{out.name}.training")
        self._settings = {name: str(value) for name, value in settings.items()}
        self._parts, self._order = parts, order

    def save(self, epochs: int) -> None:
        """Keep what there is after so many epochs."""
        states = {name: part.state_dict() for name, part in self._parts.items()}
        random = {"random": torch.get_rng_state(), "order": self._order.get_state()}
        buffer = io.BytesIO()
        torch.save({"settings": self._settings, "epochs": epochs, "parts": states, **random}, buffer)
        write_whole(self.path, buffer.getbuffer())

    def restore(self) -> int:
        """Go back to what was kept; returns how many epochs it had finished, 0 where there is none of this training."""
        try:
            kept = torch.load(self.path, weights_only=True)
            if kept["settings"] != self._settings:
                return 0
            for name, part in self._parts.items():
                part.load_state_dict(kept["parts"][name])
            torch.set_rng_state(kept["random"])
            self._order.set_state(kept["order"])
            return int(kept["epochs"])
        except (OSError, RuntimeError, LookupError, ValueError, EOFError, pickle.UnpicklingError):
            return 0  # there is none, or it is damaged

    def forget(self) -> None:
        """The weights are written: this is not needed any more."""
        self.path.unlink(missing_ok=True)
