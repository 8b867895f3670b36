"""Attribution by taking one token at a time away, with f as in `live.explained`.

    a_i = f(x) - f(x without token i)        positive: the token speaks for the target

replace   token i becomes each of K tokens drawn from a corpus (or, without one, from the vocabulary): the mean over K.
mask      nothing attends to token i, which keeps its position. What a token carries at its own position stays, so the
          last token is hidden from its own attention only.
delete    token i is left out, which moves every later token one position forward: the effect is of both.

These are interventions on the input: nothing is linearised, and the parts need not add up to anything.

Source: Zeiler and Fergus 2014; Li et al. 2016.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from head_atlas.errors import PromptError, UnsupportedModelError
from head_atlas.live.explained import Explained, in_parts, stream_of
from head_atlas.models import HeadModel, PatternReader
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

Occluding = Generator[tuple[int, int], None, tuple[np.ndarray, float]]
"""Yields (rows done, all rows); returns f without each token, [pos, draw], NaN where none is taken away, and f."""

N_REPLACEMENTS = 8
_HIDES: WeakKeyDictionary[HeadModel, bool] = WeakKeyDictionary()


def by_replacement(explained: Explained, replacements: Int[Tensor, " draw"]) -> Occluding:
    """Replace each token by each of some others."""
    own = explained.tokens
    pairs = [(at, draw) for at in explained.moving for draw in range(len(replacements))]
    found = np.full((len(own), len(replacements)), np.nan)
    for part in in_parts(len(pairs), explained.rows_at_once):
        positions, draws = (list(column) for column in zip(*pairs[part], strict=True))
        rows = own.repeat(len(positions), 1)
        rows[torch.arange(len(positions)), positions] = replacements[draws]
        found[positions, draws] = _array(explained.of_rows(rows))
        yield part.stop, len(pairs)
    return found, float(explained.of_rows(own[None]))


def by_mask(explained: Explained) -> Occluding:
    """Hide each token from attention: one draw. Without BOS the first stays: it has no other to attend to."""
    own = explained.tokens
    positions = [at for at in explained.moving if at > 0]
    found = np.full((len(own), 1), np.nan)
    for part in in_parts(len(positions), explained.rows_at_once):
        some = positions[part]
        seen = torch.ones(len(some), len(own), dtype=torch.bool, device=own.device)
        seen[torch.arange(len(some)), some] = False
        found[some, 0] = _array(explained.of_rows(own.repeat(len(some), 1), seen))
        yield part.stop, len(positions)
    # with a mask of nothing, so that both sides of the difference are computed the same way
    everything = torch.ones(1, len(own), dtype=torch.bool, device=own.device)
    return found, float(explained.of_rows(own[None], everything))


def by_deletion(explained: Explained) -> Occluding:
    """Leave each token out: one draw. A token that stands alone stays."""
    own = explained.tokens
    positions = list(explained.moving) if len(own) > 1 else []
    found = np.full((len(own), 1), np.nan)
    for part in in_parts(len(positions), explained.rows_at_once):
        some = positions[part]
        rows = torch.stack([torch.cat([own[:at], own[at + 1 :]]) for at in some])
        found[some, 0] = _array(explained.of_rows(rows))
        yield part.stop, len(positions)
    return found, float(explained.of_rows(own[None]))


def replacement_tokens(
    model: HeadModel, corpus: Sequence[str | Prompt], n_draws: int, seed: int
) -> Int[Tensor, " draw"]:
    """Draw tokens to put in a token's place: of a corpus as often as they occur in it, else any ordinary one.

    Args:
        model: whose tokens.
        corpus: texts; without any, every token of the tokenizer that is not special is as likely.
        n_draws: how many, without replacement.
        seed: of the draw.

    Raises:
        PromptError: fewer tokens than draws, or no draw.
    """
    if corpus:
        pool = stream_of(model, corpus)
    else:
        special = set(model.tokenizer.all_special_ids)
        ids = [i for i in range(min(len(model.tokenizer), model.d_vocab)) if i not in special]
        pool = torch.tensor(ids, device=model.device)
    if not 1 <= n_draws <= len(pool):
        raise PromptError(f"n_draws must lie in 1..{len(pool)}, the number of tokens to draw from, found {n_draws}")
    drawn = np.random.default_rng(seed).permutation(len(pool))[:n_draws].tolist()
    return pool[drawn]


@torch.no_grad()
def check_masking(model: HeadModel) -> None:
    """Make sure that hiding a token hides it, everywhere, and moves no other token.

    Runs once for a model, on a few tokens of which one is hidden: (1) no later logit depends on the hidden token;
    (2) in the first layer, whose input is the same, each later pattern is the clean one without the hidden token's
    share, p'[k] = p[k] / (1 - p[hidden]). An architecture that counts positions by its mask fails the second.

    Raises:
        UnsupportedModelError: one does not hold.
    """
    if model in _HIDES:
        return
    name, at, n_pos = type(model.model).__name__, 2, 6
    clean = torch.arange(1, n_pos + 1, device=model.device)[None] % model.d_vocab
    other = clean.clone()
    other[0, at] = (other[0, at] + n_pos) % model.d_vocab
    seen = torch.ones_like(clean, dtype=torch.bool)
    whole, hidden = PatternReader({0}), PatternReader({0})
    with model.intervening(whole):
        model.run(clean, seen=seen)
    seen[0, at] = False
    with model.intervening(hidden):
        model.run(clean, seen=seen)
    first, second = (model.run(row, seen=seen)[0, at + 1 :].double() for row in (clean, other))
    patterns = [reader.patterns[0][0, :, at + 1 :].double() for reader in (whole, hidden)]
    expected = patterns[0] / (1 - patterns[0][..., at : at + 1])
    expected[..., at] = 0
    tolerance = 1e-4 if model.dtype in (torch.float32, torch.float64) else 5e-2
    depends = float((first - second).abs().max()) / max(float(first.std()), 1e-30)
    moves = float((patterns[1] - expected).abs().max())
    if not (depends <= tolerance and moves <= tolerance):
        why = "moves the tokens after it" if depends <= tolerance else "does not hide it everywhere"
        raise UnsupportedModelError(
            f"{name}: hiding a token from attention {why} (deviation {max(depends, moves):.3g}): use "
            "occlusion_replace or occlusion_delete"
        )
    _HIDES[model] = True


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
