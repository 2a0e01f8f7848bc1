"""What a tensor is in its model: a weight, a bias, a running statistic …, told by its name, type and shape.

Nothing in most files says so. Names are those that torch, transformers, timm, diffusers, peft and the common quantizers
give; each guess has its reason.
"""

import math
import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache, lru_cache

from qexplorer.weights.dtypes import DTYPES


@dataclass(frozen=True, slots=True)
class Role:
    """`name` is one of `ROLES`; `reason` is a sentence."""

    name: str
    reason: str

    @property
    def weighs(self) -> bool:
        """Whether totals, rankings and shares of the error are over tensors like this one."""
        return self.name in WEIGHTS


ROLES = ("weight", "embedding", "position", "lora", "norm", "bias", "code", "scale", "zero_point", "shape", "statistic",
         "optimizer", "ema", "counter", "unknown")  # fmt: skip
WEIGHTS = ("weight", "embedding", "position", "lora")
"""What is quantized in practice, and what totals are over."""
PARAMETERS = (*WEIGHTS, "bias", "norm")
"""What a model learns."""

OPTIMIZER = re.compile(r"(^|\.)(optim(izer)?s?|opt)(_state(s|_dict)?)?\.|(^|\.)state\.\d+\.")
EMA = re.compile(r"(^|\.)(ema|model_ema|ema_\w+|\w+_ema|shadow_params)\.")
LORA = re.compile(r"(^|\.)lora_\w+(\.|$)")
MOMENTS = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "acc_delta"}
COUNTERS = {"num_batches_tracked", "step", "n_averaged", "num_updates", "global_step", "epoch"}
MOST_CHANNELS = 1 << 16
"""A normalization has no more of them; longer weights of one dimension are flattened matrices."""
SIBLINGS = {"weight": ("running_mean",), "scale": ("zero_point",), "weight_u": ("weight_orig",),
            "weight_v": ("weight_orig",), "histogram": ("min_val",), "eps": ("min_val",)}  # fmt: skip
"""Names that say something only beside one of others."""
STATISTICS = {
    "running_mean": "a running mean of batch normalization",
    "running_var": "a running variance of batch normalization",
    "min_val": "the least value that an observer saw",
    "max_val": "the greatest value that an observer saw",
    "inv_freq": "frequencies that are computed, not learned",
    "_u": "a vector that spectral normalization iterates",
    "_v": "a vector that spectral normalization iterates",
}
SCALE = re.compile(r"(scales|(.+_)scales?(_\d|_inv)?|(.+\.)?(nested_)?absmax|SCB|scale_inv)")
ZERO_POINT = re.compile(r"(.+_)?(zero_points?|qzeros)")
CODE = re.compile(r"qweight|.*_packed|.*_blocks|.*weight")
NORM = re.compile(r"norm|(^|_)(ln|bn)(_|\d|$)", re.IGNORECASE)
POSITION = re.compile(r"(^|_)wpe$|(^|_)(pos|position|positions|positional)_?(enc|emb|bias)|embed_positions|"
                      r"(^|_)rel(ative)?_(pos|position|attention)(_|$)")  # fmt: skip
EMBEDDING = re.compile(r"(^|_)(emb|embed|embd|embeds|embedding|embeddings|wte)(_tokens|_in)?\d*$|(^|_)embed_tokens|"
                       r"(^|_)(cls|class|mask|dist|register|reg)_tokens?$|class_embedding")  # fmt: skip
BIAS = re.compile(r"bias(_.*)?|.+_bias|beta")


def role_of(name: str, dtype: str, shape: tuple[int, ...], names: Container[str]) -> Role:
    """The role of a tensor of a file whose other tensors have these `names`."""
    path, _, leaf = name.replace("/", ".").rpartition(".")
    if leaf in COUNTERS and len(shape) <= 1:
        return Role("counter", f"“{leaf}” counts steps.")
    if leaf in MOMENTS or (("opt" in path or "state." in path) and OPTIMIZER.search(name)):
        return Role("optimizer", f"“{leaf}” belongs to the state of an optimizer.")
    if ("ema" in path or "shadow" in path) and EMA.search(name):
        return Role("ema", "Its name begins like that of a running average of weights.")
    beside = ""
    if (len(shape) < 2 or leaf != "weight") and leaf in SIBLINGS:
        beside = next((each for each in SIBLINGS[leaf] if (f"{path}.{each}" if path else each) in names), "")
    flat = len(shape) < 2 and math.prod(shape) <= MOST_CHANNELS
    square = len(shape) == 4 and shape[0] == shape[1] == 1 < shape[2] == shape[3]
    return _told(path.rpartition(".")[2], leaf, _kind(dtype), flat, sum(map((1).__lt__, shape)) < 2, square, beside,
                 "lora_" in name and bool(LORA.search(name)))  # fmt: skip


@cache
def _kind(dtype: str) -> str:
    """`float`, `whole` or `other`: a type of which nothing is known may be a float."""
    if dtype.startswith("complex") or dtype == "bool":
        return "other"
    known = DTYPES.get(dtype)
    return "float" if known is None or known.values.kind == "f" else "whole"


@lru_cache(maxsize=1 << 14)  # a file has thousands of tensors of a few dozen names
def _told(parent: str, leaf: str, kind: str, flat: bool, line: bool, square: bool, beside: str, lora: bool,
          ) -> Role:  # fmt: skip
    """Of its shape: it is `flat` with one dimension, a `line` where no second one has more than one value, or a
    `square` like a mask. `beside` it stands another tensor.
    """
    if lora:
        return Role("lora", "Its name has lora_ in it: part of a low-rank adapter.")
    found = _of_buffers(leaf, beside, square) or _of_codes(leaf, kind, beside, parent)
    if found is not None:
        return found
    if kind != "float":
        return Role("unknown", f"Its type holds no floating-point values, and “{leaf}” does not say what they are.")
    return _of_parameters(parent, leaf, flat, line, beside)


def _of_buffers(leaf: str, beside: str, square: bool) -> Role | None:
    if leaf in STATISTICS:
        return Role("statistic", f"“{leaf}” is the name of {STATISTICS[leaf]}.")
    if leaf in ("weight_u", "weight_v") and beside == "weight_orig":
        return Role("statistic", f"“{leaf}” is the name of {STATISTICS['_u']}.")
    if leaf in ("histogram", "eps") and beside == "min_val":
        return Role("statistic", f"“{leaf}” belongs to an observer.")
    if leaf in ("bias", "masked_bias") and square:
        return Role("unknown", "A square under the name of a bias is a mask, which is not learned.")
    return None


def _of_codes(leaf: str, kind: str, beside: str, parent: str) -> Role | None:
    """The parts of a quantized tensor."""
    if leaf.endswith("_shape") and kind == "whole":
        return Role("shape", f"“{leaf}” holds the shape of a packed tensor.")
    if ZERO_POINT.fullmatch(leaf):
        return Role("zero_point", f"“{leaf}” is the name of zero points.")
    if leaf == "scale" and not NORM.search(parent) and beside == "zero_point":
        return Role("scale", "“scale” stands beside a zero point.")
    if SCALE.fullmatch(leaf) and leaf != "logit_scale" and not leaf.startswith("layer_scale"):
        return Role("scale", f"“{leaf}” is the name of scales.")
    if leaf.endswith("quant_map"):
        return Role("unknown", f"“{leaf}” holds the levels of a codebook.")
    if kind == "whole" and CODE.fullmatch(leaf):
        return Role("code", f"“{leaf}” holds whole numbers: the codes of a quantized weight.")
    return None


def _of_parameters(parent: str, leaf: str, flat: bool, line: bool, beside: str) -> Role:
    """What floating-point values are. The name of the module comes first where the leaf is only `weight`."""
    subject = parent if leaf in ("weight", "scale") and parent else leaf
    if leaf != "bias" and POSITION.search(subject):
        return Role("position", f"“{subject}” is the name of positions.")
    if BIAS.fullmatch(leaf):
        return Role("bias", f"“{leaf}” is the name of a bias.")
    if line and leaf != subject and NORM.search(parent):
        return Role("norm", f"“{parent}” is the name of a normalization.")
    if leaf == "gamma" or (leaf == "weight" and beside == "running_mean"):
        return Role("norm", f"“{leaf}” is the factor of a normalization" +
                    (", beside its running mean." if beside else "."))  # fmt: skip
    if EMBEDDING.search(subject):
        return Role("embedding", f"“{subject}” is the name of an embedding.")
    if flat and leaf == "weight":
        return Role("norm", "A weight of one dimension: the factor of a normalization, by its shape.")
    said = f"“{leaf}” is the name of weights." if leaf.startswith("weight") else "Its name says nothing else."
    return Role("weight", f"{said} It holds floating-point values.")
