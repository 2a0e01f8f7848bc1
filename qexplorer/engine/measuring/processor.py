"""What this processor can do for narrow types."""

FLAGS = ("sse4_2", "avx2", "avx_vnni", "avx_vnni_int8", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
         "amx_int8", "amx_bf16", "amx_fp16", "neon", "dot", "i8mm", "fp16_arith", "bf16")  # fmt: skip
"""The instruction sets that narrow types depend on, as `torch.cpu.get_capabilities` calls them: x86's, then ARM's."""


def instruction_sets() -> str:
    """Those of this processor out of `FLAGS`, by torch; empty where it does not know."""
    import torch

    found = torch.cpu.get_capabilities()
    return " ".join(name for name in FLAGS if found.get(name))
