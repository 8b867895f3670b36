"""Heads that others have described, with their sources: what a run on the same checkpoint should show again. Pure data.

`confidence` says how the entry was checked when it was written down:

    read      seen in the paper, or in published code that carries its list of heads
    reported  seen in another's account or replication of it
    memory    stated from memory of the source; not seen again
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from head_atlas.heads import HeadId

Confidence = Literal["read", "reported", "memory"]

ALIASES: dict[str, tuple[str, ...]] = {
    "gpt2": ("gpt2", "openai-community/gpt2", "gpt2-small"),
    "gpt2-medium": ("gpt2-medium", "openai-community/gpt2-medium"),
}
"""By model, the names it goes by."""


@dataclass(frozen=True)
class Shows:
    """Where a published head should stand out.

    Attributes:
        measure: as `measures.evidence` names numbers: "induction_excess", "direct_logit", "logit_difference".
        where: prompt family; "" for weights.
        sign: 1 if its value should be among the largest of the model, -1 if among the smallest.
    """

    measure: str
    where: str
    sign: int = 1

    @property
    def key(self) -> tuple[str, str]:
        """How measured numbers are looked up."""
        return self.measure, self.where


@dataclass(frozen=True)
class PublishedHead:
    """One claim about one head.

    Attributes:
        model: of `ALIASES`.
        head: zero-based.
        claim: what it is said to be.
        role: of `catalogue.roles.ROLES`, or "" where none is the same.
        shows: where it should stand out; none where no number of a single head can show the claim.
        source: where it is said.
        confidence: how this entry was checked.
        note: what else is to be known, or "".
    """

    model: str
    head: HeadId
    claim: str
    role: str
    shows: tuple[Shows, ...]
    source: str
    confidence: Confidence
    note: str = ""


_WANG = "Wang et al. 2022, Interpretability in the Wild (arXiv 2211.00593)"
_MERULLO = "Merullo et al. 2023, Circuit Component Reuse Across Tasks in Transformer Language Models (arXiv 2310.08744)"
_HANNA = "Hanna et al. 2023, How does GPT-2 compute greater-than? (arXiv 2305.00586)"
_MCDOUGALL = "McDougall et al. 2023, Copy Suppression (arXiv 2310.04625)"
_GOULD = "Gould et al. 2023, Mechanistically interpreting time in GPT-2 small"
_INDUCTION_SCORES = "prefix-matching scores on repeated random tokens, several independent replications"

_PREVIOUS = (Shows("previous_token_excess", "rand_flat"),)
_DUPLICATE = (Shows("duplicate_token_excess", "rand_repeat"),)
_INDUCTION = (Shows("induction_excess", "rand_repeat"),)
_IOI_HELPS = Shows("logit_difference", "ioi", -1)
_IOI_HURTS = Shows("logit_difference", "ioi")
_MOVES = (Shows("direct_logit", "ioi"), _IOI_HELPS)
_SUPPRESSES = (Shows("direct_logit", "ioi", -1), Shows("negative_ov_copy", ""), _IOI_HURTS)
_YEARS = (Shows("logit_difference", "greater_than", -1),)


def _heads(
    model: str,
    heads: str,
    claim: str,
    role: str,
    shows: tuple[Shows, ...],
    source: str,
    confidence: Confidence,
    note: str = "",
) -> list[PublishedHead]:
    return [
        PublishedHead(model, HeadId.parse(head), claim, role, shows, source, confidence, note) for head in heads.split()
    ]


_ONLY_THEN = (
    "Takes over once the name movers are removed: neither the intact model nor the removal of one head shows it."
)

PUBLISHED: tuple[PublishedHead, ...] = (
    *_heads("gpt2", "2.2 4.11", "previous-token head", "previous_token", _PREVIOUS, _WANG, "read"),
    *_heads(
        "gpt2",
        "0.1 3.0",
        "duplicate-token head",
        "duplicate_token",
        _DUPLICATE,
        _WANG,
        "read",
    ),
    *_heads(
        "gpt2",
        "0.10",
        "duplicate-token head",
        "duplicate_token",
        _DUPLICATE,
        _WANG,
        "read",
        "A fuzzy one: it attends to similar tokens as well.",
    ),
    *_heads("gpt2", "5.5 6.9", "induction head", "induction", _INDUCTION, _WANG, "read"),
    *_heads(
        "gpt2",
        "5.8 5.9",
        "induction head",
        "induction",
        _INDUCTION,
        _WANG,
        "read",
        "Of the smaller ones in the circuit.",
    ),
    *_heads("gpt2", "5.1 7.2 7.10", "induction head", "induction", _INDUCTION, _INDUCTION_SCORES, "reported"),
    *_heads("gpt2", "7.3 7.9 8.6 8.10", "S-inhibition head", "s_inhibition", (_IOI_HELPS,), _WANG, "read"),
    *_heads(
        "gpt2",
        "9.6 9.9 10.0",
        "name mover",
        "name_mover",
        _MOVES,
        _WANG,
        "read",
        "Removing all three costs about 5 % of the logit difference: backup heads take over.",
    ),
    *_heads("gpt2", "10.7 11.10", "negative name mover", "copy_suppression", _SUPPRESSES, _WANG, "read"),
    *_heads(
        "gpt2",
        "9.0 9.7 10.1 10.2 10.6 10.10 11.2 11.9",
        "backup name mover",
        "",
        (),
        _WANG,
        "read",
        _ONLY_THEN,
    ),
    *_heads("gpt2", "10.7", "copy-suppression head", "copy_suppression", _SUPPRESSES, _MCDOUGALL, "read"),
    *_heads(
        "gpt2",
        "11.10",
        "copy-suppression head",
        "copy_suppression",
        _SUPPRESSES,
        _MCDOUGALL,
        "read",
        "To a lesser extent than 10.7.",
    ),
    *_heads("gpt2", "5.5 6.9 7.10 8.11 9.1", "greater-than head", "", _YEARS, _HANNA, "read"),
    *_heads(
        "gpt2",
        "5.1 8.8",
        "greater-than head",
        "",
        _YEARS,
        _HANNA,
        "reported",
        "In the circuit by one account, not in all.",
    ),
    *_heads(
        "gpt2",
        "9.1",
        "successor head",
        "successor",
        (Shows("direct_logit", "successor"),),
        _GOULD,
        "memory",
        "The source speaks of one head that increments numbers and serves days; its index is from memory.",
    ),
    *_heads("gpt2-medium", "15.14 16.15 17.4 18.5 19.15", "mover", "name_mover", _MOVES, _MERULLO, "reported"),
    *_heads("gpt2-medium", "12.3 13.4 13.13", "inhibition head", "s_inhibition", (_IOI_HELPS,), _MERULLO, "reported"),
    *_heads("gpt2-medium", "19.1", "negative mover", "copy_suppression", _SUPPRESSES, _MERULLO, "reported"),
    *_heads("gpt2-medium", "9.3", "induction head", "induction", _INDUCTION, _MERULLO, "reported"),
    *_heads("gpt2-medium", "6.4", "duplicate-token head", "duplicate_token", _DUPLICATE, _MERULLO, "reported"),
)


def canonical_model(name: str) -> str:
    """The model of `ALIASES` that goes by this name, or ""; case does not matter."""
    plain = name.strip().lower().rstrip("/")
    return next((model for model, names in ALIASES.items() if plain in names), "")


def published_heads(model: str, head: HeadId | None = None) -> tuple[PublishedHead, ...]:
    """What is published of a model, or of one of its heads; nothing for a model that is not known by this name."""
    known = canonical_model(model)
    return tuple(
        entry for entry in PUBLISHED if known and entry.model == known and (head is None or entry.head == head)
    )


def published_models(entries: Iterable[PublishedHead] = PUBLISHED) -> tuple[str, ...]:
    """Models that something is published of."""
    return tuple(dict.fromkeys(entry.model for entry in entries))
