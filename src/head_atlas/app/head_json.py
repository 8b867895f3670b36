"""The page of a head and its examples, as JSON text that is made once.

As text, because Gradio walks every other value that it sends, item by item and twice: a page has thousands of items.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from head_atlas.views.head_examples import examples_props
from head_atlas.views.head_page import page_props
from head_atlas.views.saved import source_of

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas

_KEPT = 256
"""Texts of each kind: at the 110 and 50 kB of the demo model's heads, 40 MB together."""


@lru_cache(maxsize=_KEPT)
def page_json(atlas: Atlas, heads: tuple[HeadId, ...], effect: str, mode: str) -> str:
    """The pages of heads, side by side.

    Args:
        atlas: where the numbers are.
        heads: one or two that the atlas has.
        effect: the effect shown per family; "" for none.
        mode: the ablation mode that is shown first.
    """
    pages = [page_props(atlas, head, effect=effect, mode=mode) for head in heads]
    return _text({"pages": pages, "about": source_of(atlas)})


@lru_cache(maxsize=_KEPT)
def examples_json(atlas: Atlas, heads: tuple[HeadId, ...], where: str, band: str) -> str:
    """Prompts that show heads, side by side.

    Args:
        atlas: where they are.
        heads: one or two that the atlas has.
        where: the set of prompts that they are from.
        band: which of them.
    """
    found = [examples_props(atlas, head, where, band) for head in heads]
    return _text({"heads": found, "about": source_of(atlas)})


def _text(value: dict[str, Any]) -> str:
    # Gradio takes text in a place for HTML and warns of tags: there are none in this.
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode().replace("<", "\\u003c")
