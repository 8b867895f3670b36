"""Further reading: which papers a text cites, and the groups that wrote many of them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from head_atlas.catalogue.papers import PAPERS, Paper

__all__ = ["GROUPS_OF_RESEARCH", "PAPERS", "Group", "Paper", "cited", "unknown_citations"]

# "Wang et al. 2022", "Roy and Vetterli 2007", "Nanda 2023".
_NAME = r"(?:[A-Z][\w’-]+|nostalgebraist)"
_CITATION = re.compile(rf"({_NAME})(?: et al\.| and {_NAME})? \(?((?:19|20)\d\d)\b")


@dataclass(frozen=True)
class Group:
    """A research group: its name, its site, and one sentence."""

    name: str
    url: str
    sentence: str


def _plain(name: str) -> str:
    return re.sub(r"\W", "", unicodedata.normalize("NFKD", name).lower())


def _keys(name: str, year: str, text: str) -> list[str]:
    found = [k for k, paper in PAPERS.items() if _plain(paper.first) == _plain(name) and paper.year == int(year)]
    named = [k for k in found if PAPERS[k].title.split(":")[0].lower() in text.lower()]
    return named or found[:1]


def cited(text: str) -> tuple[str, ...]:
    """Keys of `PAPERS` that a text names by first author and year, in its order.

    Where one author has two papers of a year, the text's title decides, and without one the first.
    """
    keys = (key for match in _CITATION.finditer(text) for key in _keys(match[1], match[2], text))
    return tuple(dict.fromkeys(keys))


def unknown_citations(text: str) -> tuple[str, ...]:
    """What looks like a citation in a text and is not in `PAPERS`."""
    return tuple(match[0] for match in _CITATION.finditer(text) if not _keys(match[1], match[2], text))


GROUPS_OF_RESEARCH: tuple[Group, ...] = (
    Group("Anthropic", "https://transformer-circuits.pub/",
          "Its interpretability team publishes the Transformer Circuits Thread, where induction heads, superposition "
          "and dictionary learning were worked out for language models."),
    Group("EleutherAI", "https://www.eleuther.ai/",
          "A non-profit that trains and studies open models; its Pythia models come with their training checkpoints, "
          "so that one can watch heads form."),
    Group("Redwood Research", "https://www.redwoodresearch.org/",
          "A non-profit for AI safety; the circuit for indirect objects in GPT-2 small, path patching and causal "
          "scrubbing came from work there."),
    Group("Google DeepMind", "https://deepmind.google/",
          "Its interpretability researchers study, among others, self-repair and attribution patching, and published "
          "the Gemma Scope autoencoders."),
)  # fmt: skip
