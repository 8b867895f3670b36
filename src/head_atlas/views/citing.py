"""How to cite the software and an atlas, as BibTeX. The software's facts are those of CITATION.cff; a test compares."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from head_atlas.store import Atlas

TITLE = "Head Atlas: measuring, browsing and testing the attention heads of language models"
AUTHORS = ("The Head Atlas authors",)
VERSION, RELEASED, LICENSE = "0.1.0", "2026-11-22", "Apache-2.0"
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"\\{c}" for c in "{}#$%&_"},
}


def _tex(text: object, most: int = 200) -> str:
    """A text of anyone's within braces."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:most]
    return "".join(_SPECIAL.get(c, c) for c in plain)


def software_bibtex() -> str:
    """The entry of the software."""
    return "\n".join(
        [
            "@software{head_atlas,",
            *[f"  author  = {{{{{_tex(' and '.join(AUTHORS))}}}}},", f"  title   = {{{{{TITLE}}}}},"],
            *[f"  year    = {{{RELEASED[:4]}}},", f"  version = {{{VERSION}}},", f"  license = {{{LICENSE}}},", "}"],
        ]
    )


def atlas_bibtex(atlas: Atlas) -> str:
    """The entry of one atlas: its model, and what says which atlas it is."""
    model = atlas.model_id or "a model without a name"
    key = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")[:40] or "model"
    facts = {"weights": "model_fingerprint", "prompts": "corpus_sha256", "settings": "config_sha256"}
    which = [f"{word} {atlas.provenance[name]}" for word, name in facts.items() if atlas.provenance.get(name)]
    lines = [f"@misc{{head_atlas_of_{key},", f"  title = {{{{Head Atlas of {_tex(model)}}}}},"]
    if atlas.source is not None:
        lines.append(f"  howpublished = {{{_tex(atlas.source.pinned_address)}}},")
        which = [f"file {atlas.source.sha256}", *which]
    if which:
        lines.append(f"  note  = {{SHA-256 of {_tex('; '.join(which), 500)}}},")
    return "\n".join([*lines, "}"])
