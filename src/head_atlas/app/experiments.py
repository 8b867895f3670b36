"""The experiment that the page opens with, and what those of the chapters share: words that repeat, and controls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.lab_running import in_background, result_of
from head_atlas.app.lab_sweep import sweep_steps
from head_atlas.app.lab_view import asked
from head_atlas.heads import HeadId

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.live import Ablation
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

FORGETTING_PROMPT = "Harry Potter went home. Everyone knew Harry"
MOST_REMOVED = 3

WORDS = tuple("apple river stone cloud tiger lamp paper bread horse green table winter".split())
"""For models without an atlas; with one, words that its tokenizer has whole are taken from it."""

# Random tokens are full of pieces of words; running text is not.
_NATURAL = ("natural",)
_WHOLE_WORD = re.compile(" [a-z]{4,9}", re.ASCII)


@dataclass(frozen=True)
class Comparison:
    """A prompt with some heads removed, and with as many control heads removed instead.

    Attributes:
        removed: the experiment.
        control: the same prompt and target without the control heads; None where too few heads are left for one.
    """

    removed: Ablation
    control: Ablation | None


def forgetting(engine: Engine, name: str, prompt: str = FORGETTING_PROMPT) -> Comparison:
    """Remove the heads that the prediction rests on, the strongest first, until the top token changes.

    Every head is removed alone first, step by step, so that no visitor waits for all of it. Then the one that costs
    the target most goes, with the next one if the top token is still the same, up to `MOST_REMOVED`. The controls
    are the heads whose removal changes the target least on this prompt.

    Raises:
        HeadAtlasError: the model cannot be loaded or is busy, or this takes too long.
    """
    from head_atlas.live import ablate

    what = asked(engine, name, prompt, "", "zero", None, None)
    swept = result_of(sweep_steps(engine, what))
    alone = np.asarray(swept.effects["logprob"])
    order = [HeadId(int(i) // alone.shape[1], int(i) % alone.shape[1]) for i in np.argsort(alone, axis=None)]

    def compared(model: HeadModel, _: object) -> Comparison:
        for n in range(1, MOST_REMOVED + 1):
            removed = ablate(model, prompt, order[:n])
            if int(np.argmax(removed.ablated_log_probs)) != removed.target:
                break
        control = controls(alone, removed.heads)
        return Comparison(removed, ablate(model, prompt, control, target=removed.target) if control else None)

    return result_of(in_background(engine, name, compared))


@lru_cache(maxsize=8)
def vocabulary(atlas: Atlas) -> tuple[str, ...]:
    """Words that are one token each for the atlas' tokenizer, in alphabetical order; `WORDS` if there are few.

    A token counts where the next one starts something new, so that no piece of a longer word gets in.

    Raises:
        AtlasError: the atlas' prompts are damaged.
    """
    found: set[str] = set()
    for record in atlas.prompts:
        if record.family in _NATURAL:
            found.update(
                text[1:]
                for text, following in pairwise(record.strings)
                if _WHOLE_WORD.fullmatch(text) and not following[:1].isalnum()
            )
    return tuple(sorted(found)) if len(found) >= 20 else WORDS


def repeated_words(seed: int, words: Sequence[str] = WORDS, n: int = 8) -> tuple[str, str]:
    """A random sequence of words, and its first half once more: (" a b c d e f a b c", " d").

    Only the repetition predicts what comes next: the words have nothing to do with each other.
    """
    drawn = [words[i] for i in np.random.default_rng(seed).permutation(len(words))[:n]]
    again = n // 2
    return "".join(f" {word}" for word in [*drawn, *drawn[:again]]), f" {drawn[again]}"


def controls(values: np.ndarray, heads: Sequence[HeadId]) -> list[HeadId]:
    """As many other heads, of the smallest magnitude in the layer of each; of any layer where it has none left.

    Args:
        values: [layer, head]; heads with NaN are not taken.
        heads: that are removed in the experiment.

    Returns:
        One per head, in the same order; empty where too few heads are left.
    """
    sizes = np.abs(np.where(np.isfinite(values), values, np.inf))
    for head in heads:
        sizes[head.layer, head.head] = np.inf
    found: list[HeadId] = []
    for head in heads:
        rows = [head.layer] if np.isfinite(sizes[head.layer]).any() else range(len(sizes))
        layer = min(rows, key=lambda row: float(sizes[row].min()))
        best = HeadId(layer, int(np.argmin(sizes[layer])))
        if not np.isfinite(sizes[best.layer, best.head]):
            return []
        sizes[best.layer, best.head] = np.inf
        found.append(best)
    return found


def whence(heads: Sequence[HeadId], control: Sequence[HeadId]) -> str:
    """Where the controls come from, in words."""
    if any(head.layer != other.layer for head, other in zip(heads, control, strict=True)):
        return "of the same layers as far as they have any left"
    return "of the same layer" if len(heads) == 1 else "of the same layers"
