"""Atlases among others: described, compared, cut down, put together, exported and imported. No model is needed."""

from __future__ import annotations

from head_atlas.exchange.describe import describe
from head_atlas.exchange.difference import Difference, difference
from head_atlas.exchange.extract import extract
from head_atlas.exchange.headvis_read import read_headvis
from head_atlas.exchange.headvis_write import write_headvis
from head_atlas.exchange.matching import Match, Matching, match_heads
from head_atlas.exchange.merge import merge
from head_atlas.exchange.tables import write_csv, write_json

__all__ = [
    "Difference",
    "Match",
    "Matching",
    "describe",
    "difference",
    "extract",
    "match_heads",
    "merge",
    "read_headvis",
    "write_csv",
    "write_headvis",
    "write_json",
]
