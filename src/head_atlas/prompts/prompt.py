"""One measured prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from head_atlas.errors import PromptError


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt and what is asked of it.

    Attributes:
        text: the text without BOS; for random tokens, their decoded form.
        tokens: ids, BOS first where the policy prepends one.
        positions: query positions at which metrics are read; a metric of the prompt is the mean over them.
        targets: the correct next token at each of `positions`.
        contrasts: the wrong token that each target is held against, or empty (no logit difference then).
        family: name of the family, "" for a prompt of the user's.
        template: index of the family's template, the cluster of the bootstrap; -1 without templates.
        split: "train" or "held_out".
        corrupted: ids of the aligned corrupted prompt, of equal length, or empty.
        annotations: positions of named parts, for instance `{"S1": (2,), "IO": (4,)}`.
    """

    text: str
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...]
    contrasts: tuple[int, ...] = ()
    family: str = ""
    template: int = -1
    split: str = "train"
    corrupted: tuple[int, ...] = ()
    annotations: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.tokens)
        if len(self.targets) != len(self.positions):
            raise PromptError(f"{len(self.positions)} positions need as many targets, found {len(self.targets)}")
        if self.contrasts and len(self.contrasts) != len(self.positions):
            raise PromptError(f"{len(self.positions)} positions need as many contrasts, found {len(self.contrasts)}")
        if not self.positions or not all(0 <= p < n for p in self.positions):
            raise PromptError(f"positions must lie in 0..{n - 1}, found {self.positions}")
        if self.corrupted and len(self.corrupted) != n:
            raise PromptError(f"the corrupted prompt has {len(self.corrupted)} tokens, the clean one {n}")

    def __len__(self) -> int:
        return len(self.tokens)
