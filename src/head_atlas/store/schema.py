"""Names, dimensions, versions and limits of the atlas file. `atlas/README.md` is this module in words."""

from __future__ import annotations

FORMAT = "head-atlas"
VERSION = "1.0"
MAJOR = int(VERSION.split(".")[0])

SIGNATURE = b"\x89HDF\r\n\x1a\n"

ELEMENT_TYPES = ("group", "dimension", "array", "string-array")
"""Values of `encoding-type` below the root."""

GROUPS = ("scores", "baselines", "effects", "clean", "summary", "references", "corpus", "provenance")

AXES = ("layer", "head", "prompt", "mode", "family", "bin")
"""Dimension scales at the root, seen from every group."""

SCORE_DIMS = ("layer", "head", "prompt")
BASELINE_DIMS = ("layer", "prompt")
EFFECT_DIMS = ("mode", "layer", "head", "prompt")
OFFSET_DIMS = ("layer", "head", "bin")
MEAN_Z_DIMS = ("position_class", "layer", "head", "d_head")

DIMS = {
    "scores": SCORE_DIMS,
    "baselines": BASELINE_DIMS,
    "effects": EFFECT_DIMS,
    "clean": ("prompt",),
    "offsets": OFFSET_DIMS,
    "references/mean_z": MEAN_Z_DIMS,
}
"""Axes by group, or by place where the group holds arrays of several kinds."""

POSITION_CLASSES = ("first", "rest")
SPLITS = ("train", "held_out")

SCORE_CHUNK = (4, 8, 128)
EFFECT_CHUNK = (1, 4, 8, 128)
MANTISSA_BITS = 10
"""Kept mantissa bits of stored scores and effects: largest relative error 2**-11, under 4.9e-4."""

FILTERS = frozenset({"deflate", "shuffle", "fletcher32"})

MAX_DEPTH = 4
MAX_OBJECTS = 2000
MAX_CHUNK_BYTES = 16 * 2**20
MAX_DECLARED_BYTES = 256 * 2**20
MAX_EXPANSION = 50
"""A file may declare at most max(MAX_DECLARED_BYTES, MAX_EXPANSION x its own size) bytes of numbers."""
