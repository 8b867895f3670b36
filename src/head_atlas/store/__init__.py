"""The atlas file: one HDF5 file per model. Nothing is measured here, and no model library is imported.

`write_atlas` and `open_atlas` are the two ends; `atlas/README.md` specifies what lies between them.
"""

from __future__ import annotations

from head_atlas.store.contents import AtlasContents, MeanZ, PromptRecord, ResamplePrompts
from head_atlas.store.loading import contents_of
from head_atlas.store.reader import Atlas, open_atlas
from head_atlas.store.writer import write_atlas

__all__ = [
    "Atlas",
    "AtlasContents",
    "MeanZ",
    "PromptRecord",
    "ResamplePrompts",
    "contents_of",
    "open_atlas",
    "write_atlas",
]
