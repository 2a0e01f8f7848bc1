"""The module that stands where a tensor is to be quantized."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qexplorer.engine.fake_quant.calibration import Calibration
from qexplorer.engine.fake_quant.executor import StraightThrough
from qexplorer.engine.fake_quant.plan import ARRAYS, DERIVED, PLAIN, Plan, read_params, tensors, written
from qexplorer.engine.fake_quant.tiles import restore, rows_of, tiling_for
from qexplorer.errors import UserError
from qexplorer.quant.arrays import Floats
from qexplorer.quant.lsq import lsq_refusal
from qexplorer.quant.params import QuantParams
from qexplorer.quant.quantize import params_for
from qexplorer.quant.scale_dtypes import LEAST
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tiling import Tiling


class FakeQuantize(nn.Module):
    """Gives the values that `quant.quantize` gives for the spec, bit for bit, in the input's shape and float dtype.

    Arithmetic is in float32. Without parameters it finds them for each input anew. They are set by `params`, by
    `calibrate`, or, within a network, by `observing` and `freeze`; from then on they are moved, saved and loaded with
    the module, and stay float32 whatever the network becomes. With `learn_scale` the scale is a torch `Parameter`
    with the gradient of LSQ; it has to be set before the first use. Gradients pass where a value is not clipped.
    """

    scale: Tensor | None
    high: Tensor | None

    def __init__(self, spec: QuantSpec, params: QuantParams | None = None, *, learn_scale: bool = False) -> None:
        super().__init__()
        refusal = lsq_refusal(spec) if learn_scale else ""
        if refusal:
            raise UserError(refusal, field="format")
        self.spec = spec
        self.learn_scale = learn_scale
        self.observing = False
        self._seen = Calibration(spec)
        self._device = torch.device("cpu")
        self._plain: dict[str, Any] = {}
        for name in (*ARRAYS, *DERIVED):
            self.register_buffer(name, None, persistent=name in ARRAYS)
        if learn_scale:
            del self.scale
            self.register_parameter("scale", None)
        if params is None and not spec.format.scaled:  # a plain cast has the same parameters for every input
            params = params_for(spec, np.zeros(1, np.float32), np.zeros(1, np.float32))
        if params is not None:
            self.set_params(params)

    @property
    def params(self) -> QuantParams | None:
        """The parameters as they are now, a learned scale included; `None` if each input has its own."""
        if self.scale is None:
            return None
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return QuantParams(**{k: None if t is None else _numpy(t).copy() for k, t in arrays.items()}, **self._plain)

    def set_params(self, params: QuantParams) -> None:
        """Take these parameters from now on. A learned scale stays the same `Parameter` if G is the same."""
        device = self._device if self.scale is None else self.scale.device
        self._plain = {name: getattr(params, name) for name in PLAIN}
        for name, tensor in tensors(self.spec.format, params, device).items():
            if name != "scale" or not self.learn_scale or tensor is None:
                setattr(self, name, tensor)
            elif self.scale is not None and self.scale.shape == tensor.shape:
                self.scale.data.copy_(tensor)
            else:
                self.scale = nn.Parameter(tensor)

    def calibrate(self, stream: Iterable[Tensor]) -> "FakeQuantize":
        """Fold the spec's observer over the tensors, and keep the parameters that follow."""
        self._seen = Calibration(self.spec)
        for x in stream:
            self.observe(x)
        return self.freeze()

    def observe(self, x: Tensor) -> None:
        """Fold the spec's observer over one more tensor, as the module does with every input while `observing`."""
        if x.numel():
            rows = rows_of(x.detach().to(torch.float32), self._tiling(x))
            self._seen.update(_numpy(rows.clone()))  # a later layer may work in place, and observers may keep values
            self._device = x.device

    def freeze(self) -> "FakeQuantize":
        """Keep the parameters that follow from all that was observed, and stop observing."""
        self.set_params(self._seen.lsq_params() if self.learn_scale else self._seen.params())
        self._seen, self.observing = Calibration(self.spec), False
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The dequantized values of `x`; while observing, `x` itself."""
        if self.observing:
            self.observe(x)
        if self.observing or not x.numel():
            return x
        tiling = self._tiling(x)
        rows = rows_of(x.to(torch.float32), tiling)
        if self.scale is not None and len(self.scale) != tiling.groups:
            raise UserError(f"The parameters are for {len(self.scale)} groups, and a tensor has {tiling.groups}.",
                            "Calibrate with tensors of the same shape.", field="granularity")  # fmt: skip
        plan = self._plan(rows)
        values = StraightThrough.apply(rows, plan.scale, plan, self._gain(x.numel() / tiling.groups))
        return restore(values, tiling).to(x.dtype)  # pyright: ignore[reportArgumentType]

    def plan(self) -> Plan:
        """What groups are quantized with, one entry a group. Raises `UserError` where each input has its own."""
        if self.scale is None:
            raise UserError("There are no parameters yet.", "Calibrate first.")
        return Plan.of(self.spec.format, self._plain, {name: getattr(self, name) for name in (*ARRAYS, *DERIVED)})

    def extra_repr(self) -> str:
        """The spec in words, as the module is printed."""
        return self.spec.title + (", learned scale" if self.learn_scale else "")

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` keeps of the parameters beside the arrays."""
        params = self.params
        return {} if params is None else written(params)

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take what `get_extra_state` gave; `_load_from_state_dict` has read it, with the arrays."""

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state_dict: Mapping[str, Any], prefix: str, *rest: Any
    ) -> None:
        plain = state_dict.get(f"{prefix}_extra_state")
        if plain:  # buffers of the saved shape must be there before torch copies into them
            arrays = {name: state_dict.get(prefix + name) for name in ARRAYS}
            self.set_params(read_params(plain, {k: None if t is None else _numpy(t) for k, t in arrays.items()}))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        def moved(tensor: Tensor) -> Tensor:
            after = fn(tensor)
            return after if after.dtype == tensor.dtype else tensor.to(after.device)

        return super()._apply(moved, recurse)

    def _tiling(self, x: Tensor) -> Tiling:
        if not x.is_floating_point():
            raise TypeError(f"There is nothing to quantize in {x.dtype}.")
        return tiling_for(self.spec.granularity, x)

    def _plan(self, rows: Tensor) -> Plan:
        plain, parts = self._plain, {name: getattr(self, name) for name in (*ARRAYS, *DERIVED)}
        if self.scale is None:
            if self.learn_scale:
                raise UserError("There is no scale yet that could be learned.", "Calibrate first.")
            own = Calibration(self.spec)
            own.update(_numpy(rows))
            params = own.params()
            plain, parts = (
                {name: getattr(params, name) for name in PLAIN},
                tensors(self.spec.format, params, rows.device),
            )
        elif self.learn_scale:
            self.scale.data.clamp_(min=LEAST)  # a step of the optimizer may have gone below
        return Plan.of(self.spec.format, plain, parts)

    def _gain(self, values: float) -> Tensor | float:
        """LSQ's 1/√(N·Q_P), `[G]`, for `values` N a group."""
        if not self.learn_scale or self.high is None:
            return 1.0
        levels = self.high.clamp(min=(self._plain["qmax"] - self._plain["qmin"]) // 2)
        return 1 / (values * levels).sqrt()


def _numpy(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy()
