"""Why a model that computes in a narrower type is faster than the float one, or is not: in a sentence."""

from dataclasses import replace

from qexplorer.engine.backends import ENGINES
from qexplorer.engine.runs.results import REAL, Row, RunResult
from qexplorer.quant.recipe import FLOAT

NO_FASTER = 1.1
"""A model that is not this many times as fast as the float one counts as no faster."""
NATIVE = {
    "int8": ("avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "dot", "i8mm"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""Which instruction sets compute in a type: of int8, those with dot products."""
AVX2 = ": with AVX2, three instructions multiply and add 32 int8 values where four do so in float"
OVERHEAD = "what surrounds the arithmetic, such as calling kernels and converting types, takes what it saves"


def explained(result: RunResult) -> RunResult:
    """The result with the sentence on its speed in the note of each row that has one."""
    rows = [replace(row, note=" ".join(filter(None, (row.note, speed_sentence(result, row))))) for row in result.rows]
    return replace(result, rows=tuple(rows))


def speed_sentence(result: RunResult, row: Row) -> str:
    """How many times as fast as the float model a row is, and why; empty where it was not timed for its speed."""
    if row is result.rows[0] or row.kind != REAL or not row.latency_ms:
        return ""
    ratios = speeds(result, row)
    first, *more = (f"batch {batch}: {ratio:.2f} times" for batch, ratio in ratios.items())
    figures = ", ".join((f"{first.capitalize()} as fast as the float model", *more))
    return f"{figures}: {_reason(result, row, [batch for batch, ratio in ratios.items() if ratio < NO_FASTER])}."


def speeds(result: RunResult, row: Row) -> dict[str, float]:
    """How many times as fast as the float model a row is, for each batch size, by the medians."""
    first = result.rows[0].latency_ms
    return {batch: first[batch].median / ms.median for batch, ms in row.latency_ms.items()}


def _reason(result: RunResult, row: Row, slow: list[str]) -> str:
    """Why it is faster, and why it is not at the batch sizes where it is `slow`."""
    device, _, dtype = row.engine.partition(" ")
    if row.engine in ENGINES:
        done, dtype = _int8_layers(result, row), "int8"
    elif device != "cpu":
        return f"it was timed on {device}, and the float model on the CPU"
    else:
        kept = result.spec.kept or ()
        done = f"its layers compute in {dtype}" + (f", but for {len(kept)} in float32" if kept else "")
    processor, native = _processor(dtype, result.versions.get("isa", ""))
    if not slow:
        return f"{done}, whose weights take {'a quarter' if dtype == 'int8' else 'half'} of the bytes, and {processor}"
    if not native:
        return f"{done}, and {processor}"
    at = "" if len(slow) == len(row.latency_ms) else f"at batch {' and '.join(slow)} "
    return f"{done}, and {processor}, but {at}{OVERHEAD}"


def _int8_layers(result: RunResult, row: Row) -> str:
    """Which layers compute in int8."""
    if result.spec.dynamic is not None:
        return "only its Linear and LSTM layers compute in int8 and each quantizes its input anew"
    specs = [layer.spec for layer in result.layers if layer.row == row.name]
    int8 = len(specs) - specs.count(FLOAT)
    return f"{int8} of its {len(specs)} layers compute in int8" if specs else "its layers compute in int8"


def _processor(dtype: str, isa: str) -> tuple[str, bool]:
    """What the processor, with these instruction sets, has for a type, and whether it computes in it."""
    what = "int8 dot products" if dtype == "int8" else f"arithmetic in {dtype}"
    flags = isa.split()
    native = [name for name in NATIVE.get(dtype, ()) if name in flags]
    if native:
        return f"this processor has {what} ({', '.join(native)})", True
    if not flags:
        return f"it is not known whether this processor has {what}", False
    if dtype == "int8":
        return f"this processor has no {what}{AVX2 if 'avx2' in flags else ''}", False
    return f"this processor has no {what}, so values are converted to float32 and back", False
