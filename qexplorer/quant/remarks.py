"""What one should know about a spec on a tensor beside its figures."""

from qexplorer.quant.spec import QuantSpec

ROUNDED = "The values are float64, and all figures are of their rounding to float32."


def remarks(spec: QuantSpec, shape: tuple[int, ...], dtype: str = "") -> tuple[str, ...]:
    """Sentences about a tensor of this shape, which the spec can divide, and of the stored type `dtype`; the spec is
    that for its kind of layer.
    """
    divided = spec.format.remark(spec.granularity.tiling(shape).wide, shape) or spec.granularity.remark(shape)
    return tuple(filter(None, (divided, ROUNDED if dtype == "float64" else "")))
