"""Heads that others have described, with their sources: what a run on the same checkpoint should show again. Pure data.

`confidence` says how the entry was checked, and `seen` where:

    read      seen in the text of the source, or in its authors' code
    reported  seen in another's account or replication of it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from head_atlas.catalogue.papers import PAPERS
from head_atlas.heads import HeadId

Confidence = Literal["read", "reported"]

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
        paper: of `papers.PAPERS`, where it is said.
        confidence: how this entry was checked.
        seen: where it was seen when it was checked.
        note: what else is to be known, or "".
    """

    model: str
    head: HeadId
    claim: str
    role: str
    shows: tuple[Shows, ...]
    paper: str
    confidence: Confidence
    seen: str
    note: str = ""

    @property
    def source(self) -> str:
        """The paper, as a text cites it, with its number at arXiv where it has one."""
        paper = PAPERS[self.paper]
        return f"{paper.short} (arXiv {paper.arxiv})" if paper.arxiv else paper.short


_PREVIOUS = (Shows("previous_token_excess", "rand_flat"),)
_DUPLICATE = (Shows("duplicate_token_excess", "rand_repeat"),)
_INDUCTION = (Shows("induction_excess", "rand_repeat"),)
_IOI_HELPS = Shows("logit_difference", "ioi", -1)
_IOI_HURTS = Shows("logit_difference", "ioi")
_MOVES = (Shows("direct_logit", "ioi"), _IOI_HELPS)
_SUPPRESSES = (Shows("direct_logit", "ioi", -1), Shows("negative_ov_copy", ""), _IOI_HURTS)
_SUPPRESSES_THE_SUBJECT = (Shows("direct_logit", "ioi"), Shows("negative_ov_copy", ""), _IOI_HELPS)
_YEARS = (Shows("logit_difference", "greater_than", -1),)

_WANG_LIST = "the table of its appendix K, which names all 26 heads"


@dataclass(frozen=True)
class _Source:
    """Where several claims stand, and how that was checked."""

    model: str
    paper: str
    confidence: Confidence
    seen: str

    def says(
        self, heads: str, claim: str, role: str, shows: tuple[Shows, ...], note: str = "", *, seen: str = ""
    ) -> list[PublishedHead]:
        """One entry for each head."""
        return [
            PublishedHead(
                self.model, HeadId.parse(head), claim, role, shows, self.paper, self.confidence, seen or self.seen, note
            )
            for head in heads.split()
        ]


_WANG = _Source("gpt2", "wang2022", "read", f"the paper’s text; {_WANG_LIST}")
_ARENA = _Source(
    "gpt2", "mcdougall2023b", "read", "the course’s solutions, which score heads on repeated random tokens"
)
_MCDOUGALL = _Source("gpt2", "mcdougall2023", "read", "the paper’s abstract; its authors’ post about it")
_HANNA = _Source("gpt2", "hanna2023", "read", "the list of heads in the authors’ code (circuit_discovery.py)")
_GOULD = _Source("gpt2", "gould2023b", "reported", "a replication that names head 9.1 as the post’s next-day head; the "
                 "post’s beginning, which speaks of one such head")  # fmt: skip
_MERULLO = _Source("gpt2-medium", "merullo2023", "reported", "two accounts of the paper that list its heads")

_REPLACES = "Only once the name movers are removed: neither the intact model nor the removal of one head shows it."

PUBLISHED: tuple[PublishedHead, ...] = (
    *_WANG.says("2.2 4.11", "previous-token head", "previous_token", _PREVIOUS, seen="the paper’s appendix H: the two "
                f"highest previous-token scores on random tokens; {_WANG_LIST}"),
    *_WANG.says("0.1 3.0", "duplicate-token head", "duplicate_token", _DUPLICATE, seen="the paper’s appendix I: among "
                f"the three highest scores on repeated random tokens; {_WANG_LIST}"),
    *_WANG.says("0.10", "duplicate-token head", "duplicate_token", (), "A fuzzy one: it attends to the current token, "
                "and to the earlier copy of a repeated name; on random tokens, the paper says, it does not stand out.",
                seen=f"the paper’s appendix I; {_WANG_LIST}"),
    *_WANG.says("5.5 6.9", "induction head", "induction", _INDUCTION, seen="the paper’s appendix H: among the five "
                f"highest induction scores; {_WANG_LIST}"),
    *_WANG.says("5.8 5.9", "induction head", "induction", (), "Of the smaller ones in the circuit: the paper tests "
                "only 5.5 and 6.9 on repeated random tokens.", seen="the table of the paper’s appendix K"),
    *_ARENA.says("5.1 7.2 7.10", "induction head", "induction", _INDUCTION),
    *_WANG.says("7.3 7.9 8.6 8.10", "S-inhibition head", "s_inhibition", (_IOI_HELPS,)),
    *_WANG.says("9.6 9.9 10.0", "name mover", "name_mover", _MOVES, "Removing all three costs about 5 % of the logit "
                "difference: backup heads take over."),
    *_WANG.says("10.7 11.10", "negative name mover", "copy_suppression", _SUPPRESSES),
    *_WANG.says("9.0 10.1 10.6 10.10", "backup name mover", "", (), _REPLACES),
    *_WANG.says("10.2 11.9", "backup name mover", "", (), f"Attends to both names alike. {_REPLACES}"),
    *_WANG.says("11.2", "backup name mover", "", (), f"Attends more to the subject, and writes it. {_REPLACES}"),
    *_WANG.says("9.7", "backup name mover", "", (), "Attends to the second mention of the subject, and writes against "
                f"it. {_REPLACES}"),
    *_MCDOUGALL.says("10.7", "copy-suppression head", "copy_suppression", _SUPPRESSES),
    *_MCDOUGALL.says("11.10", "copy-suppression head", "copy_suppression", _SUPPRESSES, "To a lesser extent than 10.7.",
                     seen="the authors’ post about the paper"),
    *_HANNA.says("5.1 5.5 6.9 7.10 8.8 8.11 9.1", "greater-than head", "", _YEARS),
    *_GOULD.says("9.1", "successor head", "successor", (Shows("direct_logit", "successor"),), "Completes “If today is "
                 "Monday, tomorrow is”; the paper on successor heads (Gould et al. 2023) came after this."),
    *_MERULLO.says("15.14 16.15 17.4 18.5 19.15", "mover", "name_mover", _MOVES),
    *_MERULLO.says("12.3 13.4", "inhibition head", "s_inhibition", (_IOI_HELPS,)),
    *_MERULLO.says("13.13", "inhibition head", "s_inhibition", (_IOI_HELPS,), "The paper calls it 13.13 in its text "
                   "and 13.14 in a figure’s caption and an appendix.", seen="one account of the paper, which found "
                   "both numbers in it"),
    *_MERULLO.says("19.1", "negative mover", "", _SUPPRESSES_THE_SUBJECT, "Unlike those of GPT-2 small it attends to "
                   "the repeated name alone and lowers that, so that it helps.", seen="two accounts that quote the "
                   "paper’s section 3"),
    *_MERULLO.says("9.3", "induction head", "induction", _INDUCTION),
    *_MERULLO.says("6.4", "duplicate-token head", "duplicate_token", _DUPLICATE),
)  # fmt: skip


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
