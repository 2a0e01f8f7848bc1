"""Which specs have a scale that can be learned."""

from qexplorer.quant.spec import QuantSpec


def lsq_refusal(spec: QuantSpec) -> str:
    """Why the scales of a spec cannot be learned; empty if they can."""
    if not (spec.format.uniform and "scheme" in spec.format.applies):
        return f"LSQ learns the scales of integers; {spec.format.title} {spec.format.kind}."
    if spec.scheme == "affine_float":
        return "LSQ learns a scale beside an integer zero point, not beside a float one."
    if spec.scale_dtype.name != "float32":
        return "LSQ learns float32 scales."
    if spec.format.code_bits == 1 and spec.scheme == "symmetric":
        return "One bit has no level above zero whose scale could be learned."
    return ""
