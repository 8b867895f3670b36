"""The two experiments that the page brings along: they choose heads by measurement and run them live."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId

if TYPE_CHECKING:
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
    """A prompt with some heads removed, and with a control head removed instead.

    Attributes:
        removed: the experiment.
        control: the same prompt and target without the control head.
        effects: [layer, head], the effect of each head alone on the log-probability of the target; or None.
    """

    removed: Ablation
    control: Ablation
    effects: np.ndarray | None = None


def forgetting(model: HeadModel, prompt: str = FORGETTING_PROMPT) -> Comparison:
    """Remove the heads that the prediction rests on, the strongest first, until the top token changes.

    Every head is removed alone first. Then the one that costs the target most goes, with the next one if
    the top token is still the same, up to `MOST_REMOVED`. The control is the head of the same layer whose
    removal changes the target least.
    """
    from head_atlas.live import ablate
    from head_atlas.measures.effects import sweep

    alone = sweep(model, [prompt], metrics=["logprob"])["logprob"].values[0]
    order = [HeadId(int(i) // model.n_heads, int(i) % model.n_heads) for i in np.argsort(alone, axis=None)]
    for n in range(1, MOST_REMOVED + 1):
        removed = ablate(model, prompt, order[:n])
        if int(np.argmax(removed.ablated_log_probs)) != removed.target:
            break
    control = _quietest(alone, order[0].layer, set(removed.heads))
    return Comparison(removed, ablate(model, prompt, [control], target=removed.target), alone)


def vocabulary(atlas: Atlas) -> tuple[str, ...]:
    """Words that are one token each for the atlas' tokenizer, in alphabetical order; `WORDS` if there are few.

    A token counts where the next one starts something new, so that no piece of a longer word gets in.
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


def induction_and_control(atlas: Atlas, heads: list[HeadId]) -> tuple[list[HeadId], HeadId]:
    """The heads to remove in the induction experiment, and a control head of the strongest one's layer.

    Args:
        atlas: whose induction scores choose.
        heads: induction heads of this atlas, the strongest first; where there is none, the strongest head.

    Raises:
        AtlasError: the atlas has no induction scores.
    """
    if "induction_excess" not in atlas.summary:
        raise AtlasError("This atlas has no induction scores, so no head can be picked by them.")
    excess = atlas.summary["induction_excess"].values
    flat = int(np.nanargmax(excess))
    chosen = heads or [HeadId(flat // atlas.n_heads, flat % atlas.n_heads)]
    return chosen, _quietest(excess, chosen[0].layer, set(chosen))


def induction(model: HeadModel, words: str, target: str, heads: list[HeadId], control: HeadId) -> Comparison:
    """Remove induction heads while a sequence of words repeats, and the control head instead.

    Args:
        model: to run.
        words: the prompt, from `repeated_words`.
        target: the word that came next the first time; its first token is the target where it has several.
        heads: to remove.
        control: to remove instead.
    """
    from head_atlas.live import ablate

    token = model.policy.pieces_of(target)[0]
    return Comparison(ablate(model, words, heads, target=token), ablate(model, words, [control], target=token))


def _quietest(values: np.ndarray, layer: int, taken: set[HeadId]) -> HeadId:
    """The head of a layer with the smallest magnitude, those taken left out; of another layer if all are."""
    sizes = np.abs(np.where(np.isfinite(values), values, np.inf))
    for head in taken:
        sizes[head.layer, head.head] = np.inf
    row = sizes[layer]
    if np.isfinite(row).any():
        return HeadId(layer, int(np.argmin(row)))
    flat = int(np.argmin(sizes))
    return HeadId(flat // sizes.shape[1], flat % sizes.shape[1])
