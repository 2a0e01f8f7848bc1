"""How the table of a sketch's buckets is laid out, which counts float32 values by their upper bits."""

KEY_BITS = 17
"""Sign, exponent and 8 bits of mantissa."""
LOW_BITS = 32 - KEY_BITS
ZEROS = 16
"""A power of two: so many counters of zeros lie behind the buckets, see `kernels`."""
