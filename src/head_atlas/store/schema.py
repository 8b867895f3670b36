"""Names, dimensions, versions and limits of the atlas file. `atlas/README.md` is this module in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FORMAT = "head-atlas"
VERSION = "1.1"
MAJOR, MINOR = (int(part) for part in VERSION.split("."))

SIGNATURE = b"\x89HDF\r\n\x1a\n"

ELEMENT_TYPES = ("group", "dimension", "array", "string-array")
"""Values of `encoding-type` below the root."""

AXES = ("layer", "head", "prompt", "mode", "family", "bin")
"""Dimension scales at the root, seen from every group."""

TWINS = {"layer_from": "layer", "head_from": "head"}
"""Axes that stand for another one a second time, and are as long: the heads that write to the heads that read."""

COUNTED = ("layer", "head", "prompt", *TWINS)
"""Axes that have numbers and no names."""

OWN_AXES = frozenset(
    (
        *TWINS,
        *"kind relation direction role criterion state grade part pair side start subset score order".split(),
        *"space centring statistic neuron token".split(),
        *"rank draw quantile band offset distance component token_rank".split(),
        *"largest_bin quantile_band distance_bin".split(),
        # ragged rows: flat arrays, and the offsets of their rows
        *"exemplar exemplar_row exemplar_entry head_edge exemplar_edge".split(),
    )
)
"""Axes that a group may have for itself, beside those at the root. Their scales lie in the group."""


@dataclass(frozen=True)
class Layout:
    """How the arrays of a group are laid out.

    Attributes:
        dims: the axes of every array, or None where each has its own.
        rounded: whether numbers are rounded to `MANTISSA_BITS`.
        compressed: whether arrays are stored in compressed chunks; else contiguous, for the quickest reading.
        nested: whether the arrays lie in groups of this group, one for each set of prompts.
    """

    dims: tuple[str, ...] | None = None
    rounded: bool = False
    compressed: bool = True
    nested: bool = False


SCORE_DIMS = ("layer", "head", "prompt")
BASELINE_DIMS = ("layer", "prompt")
EFFECT_DIMS = ("mode", "layer", "head", "prompt")
OFFSET_DIMS = ("layer", "head", "bin")
MEAN_Z_DIMS = ("position_class", "layer", "head", "d_head")
RESAMPLE_DIMS = ("draw", "position")

LAYOUTS: Mapping[str, Layout] = {
    "scores": Layout(SCORE_DIMS, rounded=True),
    "baselines": Layout(BASELINE_DIMS, rounded=True),
    "effects": Layout(EFFECT_DIMS, rounded=True),
    "clean": Layout(("prompt",)),
    "summary": Layout(compressed=False),
    "weights": Layout(rounded=True),
    "direct_logit": Layout(),  # its parts add up only as they were measured
    "syntax": Layout(),
    "nulls": Layout(),
    "roles": Layout(),
    "exemplars": Layout(nested=True),
    "neurons": Layout(rounded=True),
    "model": Layout(),
}
"""The groups of arrays that are read by name."""

REQUIRED_GROUPS = ("scores", "baselines", "effects", "clean", "summary", "references", "corpus", "provenance")
"""In every file, empty if need be; the other groups came with version 1.1 and may be missing."""

VIEWS = ("by_head", "by_prompt")
"""Groups in which a large array of the other groups lies twice, in place of its own: cut to be read head by head, and
prompt by prompt."""

MEMBERS = frozenset({*AXES, *LAYOUTS, *REQUIRED_GROUPS, *VIEWS, "offsets"})
"""What may lie at the root."""

OWN_DIMS = {"offsets": OFFSET_DIMS, "references/mean_z": MEAN_Z_DIMS, "references/resample_token": RESAMPLE_DIMS}
"""Axes of the arrays that lie outside of these groups."""

POSITION_CLASSES = ("first", "rest")
SPLITS = ("train", "held_out")

CHUNK = {"mode": 1, "layer": 4, "head": 8, "layer_from": 4, "head_from": 8, "prompt": 128}
VIEW_BYTES = 256 * 2**20
"""Arrays larger than this are stored as views."""
VIEW_PROMPTS = 32
"""Prompts in a chunk of the by-prompt view."""
LONGEST_CHUNK = 4096
CHUNK_NUMBERS = 2**18
SMALLEST_COMPRESSED = 256
"""Arrays of fewer numbers are not worth a chunk."""
MANTISSA_BITS = 10
"""Kept mantissa bits of rounded numbers: largest relative error 2**-11, under 4.9e-4."""

FILTERS = frozenset({"deflate", "shuffle", "fletcher32"})

MAX_DEPTH = 4
MAX_OBJECTS = 2000
MAX_CHUNK_BYTES = 16 * 2**20
MAX_DIMS = 8
MAX_ATTRIBUTES = 1000
MAX_ATTRIBUTE_BYTES = 256 * 2**10
MAX_TEXTS = 2**17
MAX_TEXT_BYTES = 16 * 2**20
"""Of one array of texts, which lie in the file uncompressed and are read at once."""
DEFLATE_LIMIT = 1032
"""Bytes that one byte of a deflate stream can grow to."""
MAX_DECLARED_BYTES = 256 * 2**20
MAX_EXPANSION = 50
"""A file may declare at most max(MAX_DECLARED_BYTES, MAX_EXPANSION x its own size) bytes of numbers."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def group_of(place: str) -> str:
    """The group of an array: "weights" of "weights/ov_copy", "" of "offsets"."""
    return place.rpartition("/")[0]


def without_view(place: str) -> str:
    """The place of the array that a view is of: "scores/sink" of "by_head/scores/sink", and of itself."""
    view, _, rest = place.partition("/")
    return rest if view in VIEWS and has_views(rest) else place


def has_views(place: str, shape: Sequence[int] = (), dims: Sequence[str] = (), *, at_least: int = 0) -> bool:
    """Whether an array is one that may have views, and is large enough for them.

    Args:
        place: of the array; only groups whose arrays all have layers, heads and prompts have views.
        shape: of the array.
        dims: names of its axes; () for those of its group.
        at_least: bytes as float32 from which it has them; 0 for any.
    """
    layout = LAYOUTS.get(group_of(place))
    if layout is None or layout.nested or not layout.compressed:
        return False
    named = dims or layout.dims or SCORE_DIMS
    return {*SCORE_DIMS} <= {*named} <= {*AXES} and 4 * math.prod(shape) >= at_least


def layout_of(place: str) -> Layout | None:
    """How an array, or a view of it, is laid out; None outside of the groups of `LAYOUTS`."""
    place = without_view(place)
    layout = LAYOUTS.get(place.split("/")[0])
    return layout if layout and place.count("/") == 1 + layout.nested else None


def is_name(name: str) -> bool:
    """Whether an element of an atlas may be called that."""
    return _NAME.fullmatch(name) is not None


def name_problem(place: str) -> str:
    """What is wrong with the place of an array that a writer wants to write; "" if nothing."""
    group, _, name = place.rpartition("/")
    if not all(is_name(part) for part in place.split("/")):
        return f"/{place}: names are small letters, digits and underscores"
    if layout_of(place) is None and place not in OWN_DIMS:
        return f"/{place}: there is no group /{group} in an atlas; there are {', '.join(LAYOUTS)}"
    if name in AXES:
        return f"/{place}: {name!r} is the name of an axis"
    return ""


def dims_problem(place: str, dims: Sequence[str], *, strict: bool = True) -> str:
    """What is wrong with the axes of an array; "" if nothing.

    Args:
        place: of the array in the file.
        dims: names of its axes.
        strict: whether axes that this version does not know are wrong; a newer minor version may have some.
    """
    layout = layout_of(place)
    expected = OWN_DIMS.get(place, layout.dims if layout else None)
    view, _, rest = place.partition("/")
    if view in VIEWS and not has_views(rest, dims=dims):
        return f"/{place}: an array with the axes {', '.join(dims)} has no views"
    if expected is not None and tuple(dims) != expected:
        return f"/{place}: the axes are {', '.join(dims)}; expected {', '.join(expected)}"
    if layout and strict:
        unknown = [dim for dim in dims if dim not in AXES and dim not in OWN_AXES]
        if unknown:
            return f"/{place}: no axis {unknown[0]!r} in version {VERSION}"
    if len(set(dims)) < len(dims):
        return f"/{place}: one axis twice in {', '.join(dims)}"
    return ""


def view_chunk(view: str, dims: Sequence[str], shape: Sequence[int]) -> tuple[int, ...]:
    """The chunk of a view: all prompts of one head, or all heads for a few prompts."""
    whole = ("prompt",) if view == "by_head" else ("layer", "head")
    few = {"prompt": VIEW_PROMPTS}
    return tuple(n if dim in whole else min(n, few.get(dim, 1)) for dim, n in zip(dims, shape, strict=True))


def chunk_of(dims: Sequence[str], shape: Sequence[int]) -> tuple[int, ...]:
    """The chunk of a compressed array: (4, 8, 128) for layer, head and prompt."""
    chunk, left = [], CHUNK_NUMBERS
    for dim, n in zip(dims, shape, strict=True):
        size = max(1, min(n, CHUNK.get(dim, LONGEST_CHUNK), left))
        chunk.append(size)
        left //= size
    return tuple(chunk)
