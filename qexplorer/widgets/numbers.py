"""How numbers are written on screen: short, with a unit, and always the same way."""

import math

MINUS = "−"


def figure(x: float, digits: int = 4) -> str:
    """A number with so many significant digits; very large and small ones with a power of ten."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else f"{MINUS}∞"
    if x != 0 and not 1e-4 <= abs(x) < 1e6:
        mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    return f"{x:.{digits}g}".replace("-", MINUS)


def count(n: int) -> str:
    """A whole number with thin separators: 24,576."""
    return f"{n:,}"


def many(n: int) -> str:
    """A large number in short: 2.24 M."""
    for size, unit in ((10**9, " B"), (10**6, " M"), (10**4, " k")):
        if n >= size:
            return f"{n / (size if unit != ' k' else 1000):.3g}{unit}"
    return count(n)


def size(n: float) -> str:
    """Bytes in decimal units, as files are sold: 8.95 MB."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= factor:
            return f"{n / factor:.2f} {unit}"
    return f"{n:.0f} B"


def percent(share: float) -> str:
    """A share as a percentage: 98.90 %, and small ones with two digits that count."""
    value = share * 100
    return f"{value:.2g} %" if 0 < abs(value) < 0.1 else f"{value:.2f} %"


def duration(seconds: float) -> str:
    """A time in words: about what a person would say."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def shape(dims: tuple[int, ...]) -> str:
    """A tensor's shape: 384×64×1×1."""
    return "×".join(map(str, dims)) if dims else "scalar"
