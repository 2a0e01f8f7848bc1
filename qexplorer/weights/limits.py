"""Every limit that a file must keep: beyond it the file is refused before anything is allocated."""

MIB = 1 << 20

SHORTEST_FILE = 10
"""The shortest file of any kind that can be opened: a safetensors file without tensors."""

HEAD_BYTES = 4096
"""How much of a file's beginning is looked at to tell what it is."""

# safetensors
HEADER_BYTES = 100_000_000
HEADER_WARNING_BYTES = 10_000_000

# index and configuration files
JSON_BYTES = 64 * MIB
SHARDS = 10_000

# any model
TENSORS = 1_000_000
NAME_STORED = 64 << 10
NAMES_TOGETHER = 64 * MIB
RANK = 64
DIMENSION = 1 << 48
ELEMENTS = 1 << 56
METADATA_ENTRIES = 10_000
METADATA_SHOWN = 10_000
WARNINGS_SHOWN = 20

# JSON, counted in its bytes before it is parsed; what texts in it hold counts too
JSON_TABLES = 2 * TENSORS
JSON_SLACK = 2 * TENSORS
JSON_COMMAS = 12 * TENSORS

# pickles
PICKLE_BYTES = 64 * MIB
PICKLE_OPCODES = 8_000_000
PICKLE_OBJECTS = 2_000_000
"""How many containers, calls, texts and pairs it may make, and how many values it may remember."""
PICKLE_STRING_BYTES = 16 * MIB
PICKLE_INTEGER_BYTES = 16
PICKLE_DEPTH = 200
PICKLE_VISITS = 10_000_000
"""How many values are looked at when its tensors are searched; those that lie in two places count twice."""
CODE_REFERENCES = 1000

# zip archives
ZIP_ENTRIES = 100_000
ZIP_DIRECTORY_BYTES = 64 * MIB
ZIP_RATIO = 200
"""How many times larger than stored a compressed record that is read whole may become."""
INFLATED_HELD_BYTES = 64 * MIB
"""The largest compressed tensor that is held while it is looked at; others are inflated again at each look."""

# memory
MEMORY_SHARE = 0.5
"""The part of the free memory that reading may take."""
MEMORY_UNASKED = 64 * MIB
"""So much is taken without looking how much is free."""

# NumPy
NPY_HEADER_BYTES = 1 * MIB
NPY_HEADERS_TOGETHER = 32 * MIB
"""Those of all the arrays in an archive; one takes about a hundred bytes."""

# synthetic tensors
SYNTHETIC_VALUES = 10_000_000_000
