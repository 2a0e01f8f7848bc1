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
    x += 0.0  # zero has no minus sign
    whole = abs(x) >= 10.0**digits  # more digits than asked for, rather than a power of ten
    return (f"{x:.0f}" if whole else f"{x:.{digits}g}").replace("-", MINUS)


def count(n: int) -> str:
    """A whole number with commas between thousands: 24,576."""
    return f"{n:,}"


def many(n: int) -> str:
    """A large number in short: 2.24 M."""
    for power, unit in ((9, " B"), (6, " M"), (3, " k")):
        short = float(f"{n:.3g}")  # rounded first: 999,999 is 1 M and not 1,000 k
        if n >= 10**4 and short >= 10**power:
            return f"{figure(short / 10**power, 3)}{unit}"
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
    if not math.isfinite(value):
        return figure(value)
    return f"{figure(value, 2)} %" if 0 < abs(value) < 0.1 else f"{value:.2f} %"


def decibels(db: float, places: int = 2) -> str:
    """A ratio in dB, without its unit, with so many decimal places: 23.18, and ∞ where there is no error."""
    return f"{db + 0.0:.{places}f}".replace("-", MINUS) if abs(db) < 1e6 else figure(db)


def bounded_decibels(db: float, bounds: tuple[float, float] | None) -> str:
    """A ratio in dB, without its unit, and how far it may be off, rounded up: 18.0 ± 0.4; one end where the other is
    infinite: ≥ 18.1.
    """
    if bounds is None or not math.isfinite(db):
        return decibels(db)
    low, high = bounds
    if not math.isfinite(high):
        return f"≥ {decibels(math.floor(low * 10) / 10, 1)}" if math.isfinite(low) else "…"
    places = 1 if high - low >= 0.2 else 2 if high - low >= 0.02 else 3
    shown = round(db, places)
    off = math.ceil(max(high - shown, shown - low, 10.0**-places) * 10**places - 1e-9) / 10**places
    return f"{decibels(shown, places)} ± {off:.{places}f}" if math.isfinite(low) else f"≤ {decibels(high, 1)}"


def interval(ends: tuple[float, float]) -> str:
    """Between which two shares something lies: 98.3 – 99.3 %."""
    return f"{ends[0] * 100:.1f} – {ends[1] * 100:.1f} %"


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


def tensor(dims: tuple[int, ...], dtype: str, n: int) -> str:
    """What a tensor is: 384×64×1×1 float32, 24,576 values."""
    return f"{shape(dims)} {dtype}, {count(n)} values"
