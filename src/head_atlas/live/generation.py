"""Continuing a prompt with all heads and without some, side by side.

Both continuations are written token by token with a key-value cache, the heads removed at every step. At step t both
choose with one and the same random number u_t: the token at which the cumulated probability, in order of ids, first
exceeds u_t (or, at temperature 0, the most likely one). So they differ only where the model's distributions do, and
with no head removed they are the same.

The log-probability of every token under both models is read afterwards, from one run of each text from scratch: that
is teacher-forcing, each model on the text that the other one wrote as well as on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Mode, Reference, ablating
from head_atlas.interventions.replacements import fixed_values
from head_atlas.models import HeadModel
from head_atlas.models.readers import ReadPositions
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Continuation:
    """What one of the two models wrote after the prompt.

    Attributes:
        tokens: ids; the last is the end-of-sequence token where one was written.
        strings: each of them.
        text: of all.
        clean_log_probs: of each token, given all before it in this text, with all heads; axis (step,), nats.
        ablated_log_probs: likewise without the heads.
        clean_choices: what the model with all heads would write at each step of this text, with the same draws.
        ablated_choices: likewise without the heads.
    """

    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    text: str
    clean_log_probs: NamedArray
    ablated_log_probs: NamedArray
    clean_choices: tuple[int, ...]
    ablated_choices: tuple[int, ...]


@dataclass(frozen=True)
class Generation:
    """A prompt continued with all heads and without some.

    Attributes:
        clean: written with all heads; its `ablated_*` are teacher-forced.
        ablated: written without the heads, running free; its `clean_*` are teacher-forced.
        divergence: the first step at which the two texts differ; None where they do not. Up to there they are aligned,
            and after it each goes its own way: from there on, steps of the two are not comparable.
        tokens: ids of the prompt, BOS first.
        strings: each of them.
        heads: that were removed.
        mode: what their output became.
        temperature: 0 is greedy.
        seed: of the draws.
        model: that wrote.
        reference: what the mode needed.
    """

    clean: Continuation
    ablated: Continuation
    divergence: int | None
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    heads: tuple[HeadId, ...]
    mode: Mode
    temperature: float
    seed: int
    model: HeadModel = field(repr=False)
    reference: Reference | None = field(repr=False)


@dataclass(frozen=True)
class GenerationStep:
    """How far both continuations are.

    Attributes:
        done: tokens written, the longer of the two.
        total: most that will be.
        clean: ids written so far with all heads.
        ablated: likewise without the heads.
        result: in the last step only.
    """

    done: int
    total: int
    clean: tuple[int, ...]
    ablated: tuple[int, ...]
    result: Generation | None


def generate(
    model: HeadModel,
    prompt: str | Prompt,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str = (),
    mode: Mode = "zero",
    reference: Reference | None = None,
    *,
    n_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """Continue a prompt with all heads and without some.

    Args:
        model: that writes.
        prompt: a text; of a `Prompt` only the tokens count.
        heads: to remove, all at once, at every step.
        mode: "zero", "mean" or "resample", which needs draws as long as the whole text; a corrupted prompt has no
            continuation to take from.
        reference: what the mode needs, as in `ablating`.
        n_tokens: most to write; less where the end-of-sequence token comes first.
        temperature: of sampling; 0 takes the most likely token.
        seed: of sampling, at most one number for each step.
        progress: is told tokens written and most that will be; what it raises ends the run.

    Raises:
        PromptError: the prompt is empty, or with what is to be written longer than the model or the reference.
        HeadError: a head that the model does not have.
        MissingReferenceError: a mode without a fitting reference.
        HeadAtlasError: a number of tokens, temperature, mode or seed that cannot be.
    """
    for step in iter_generate(
        model, prompt, heads, mode, reference, n_tokens=n_tokens, temperature=temperature, seed=seed
    ):
        if progress is not None:
            progress(step.done, step.total)
    assert step.result is not None
    return step.result


def iter_generate(
    model: HeadModel,
    prompt: str | Prompt,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str = (),
    mode: Mode = "zero",
    reference: Reference | None = None,
    *,
    n_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[GenerationStep]:
    """Generate, step by step: stop iterating to cancel. The arguments of `generate`, checked at once."""
    removed, seed = model.heads(heads), checked_seed(seed)
    tokens = model.tokens(prompt) if isinstance(prompt, str) else model.rows([prompt.tokens])[0]
    if n_tokens < 1:
        raise HeadAtlasError(f"n_tokens must be at least 1, found {n_tokens}")
    if not (np.isfinite(temperature) and temperature >= 0):
        raise HeadAtlasError(f"temperature must be 0 or above, found {temperature}")
    if len(tokens) + n_tokens > model.max_length:
        raise PromptError(
            f"the prompt is {len(tokens)} tokens long and {n_tokens} are to follow; this model reads {model.max_length}"
        )
    values = fixed_values(model, mode, reference)
    if values is None:
        raise HeadAtlasError("the corrupted prompt ends where writing begins: choose zero, mean or resample")
    values.at(0, 0, [], torch.tensor(len(tokens) + n_tokens - 1, device=model.device))  # long enough, or an error
    draws = np.random.default_rng(seed).random(n_tokens)
    return _steps(_Writing(model, tokens, removed, mode, reference, draws, float(temperature), seed))


@dataclass(frozen=True)
class _Writing:
    """What is to be written."""

    model: HeadModel
    tokens: Tensor
    heads: tuple[HeadId, ...]
    mode: Mode
    reference: Reference | None
    draws: np.ndarray
    temperature: float
    seed: int

    def choose(self, logits: Float[Tensor, " d_vocab"], step: int) -> int:
        """Return the token that a step writes."""
        if self.temperature == 0:
            return int(logits.argmax())
        cumulated = (logits.double() / self.temperature).softmax(-1).cumsum(-1)
        at = torch.searchsorted(cumulated, float(self.draws[step]) * float(cumulated[-1]), right=True)
        return min(int(at), len(cumulated) - 1)


class _Writer:
    """One of the two models, with its cache.

    Args:
        writing: what is to be written.
        heads: those removed, or none.
    """

    def __init__(self, writing: _Writing, heads: tuple[HeadId, ...]) -> None:
        self._writing, self._heads = writing, heads
        self._cache: Any = None
        self._next = writing.tokens[None]
        end = writing.model.tokenizer.eos_token_id
        self._end = None if end is None else int(end)
        self.written: list[int] = []

    @property
    def ended(self) -> bool:
        """Whether the end-of-sequence token was written."""
        return bool(self.written) and self.written[-1] == self._end

    @torch.no_grad()
    def step(self) -> None:
        """Write one token."""
        model = self._writing.model
        last = ReadPositions(torch.tensor([[self._next.shape[1] - 1]], device=model.device))
        with self._removed(), model.intervening(last):
            output = model.model(input_ids=self._next, past_key_values=self._cache, use_cache=True)
        self._cache = output.past_key_values
        self.written.append(self._writing.choose(output.logits[0, -1], len(self.written)))
        self._next = torch.tensor([self.written[-1:]], device=model.device)

    @torch.no_grad()
    def read(self, written: list[int]) -> tuple[np.ndarray, tuple[int, ...]]:
        """Log-probability of each token of a continuation, and the choice at each step, from scratch."""
        model, n_prompt = self._writing.model, len(self._writing.tokens)
        row = model.rows([[*self._writing.tokens.tolist(), *written]])
        read = torch.arange(n_prompt - 1, n_prompt - 1 + len(written), device=model.device)[None]
        with self._removed():
            logits = model.run(row, read)[0]
        wide = logits if logits.dtype == torch.float64 else logits.float()
        own = wide.log_softmax(-1)[range(len(written)), written]
        return own.cpu().numpy(), tuple(self._writing.choose(one, step) for step, one in enumerate(logits))

    def _removed(self) -> Any:
        return ablating(self._writing.model, self._heads, self._writing.mode, self._writing.reference)


def _steps(writing: _Writing) -> Iterator[GenerationStep]:
    clean, ablated = _Writer(writing, ()), _Writer(writing, writing.heads)
    total = len(writing.draws)
    for done in range(1, total + 1):
        for writer in (clean, ablated):
            if not writer.ended:
                writer.step()
        if clean.ended and ablated.ended:
            break
        if done < total:
            yield GenerationStep(done, total, tuple(clean.written), tuple(ablated.written), None)
    result = _result(writing, clean, ablated)
    done = max(len(clean.written), len(ablated.written))
    yield GenerationStep(done, done, result.clean.tokens, result.ablated.tokens, result)


def _result(writing: _Writing, clean: _Writer, ablated: _Writer) -> Generation:
    model = writing.model
    start = model.tokenizer.decode(writing.tokens.tolist(), clean_up_tokenization_spaces=False)

    def continuation(written: list[int]) -> Continuation:
        (p, would), (q, would_not) = clean.read(written), ablated.read(written)
        whole = model.tokenizer.decode([*writing.tokens.tolist(), *written], clean_up_tokenization_spaces=False)
        text = whole[len(start) :] if whole.startswith(start) else model.tokenizer.decode(written)
        return Continuation(
            tokens=tuple(written),
            strings=tuple(model.strings(written)),
            text=text,
            clean_log_probs=NamedArray(p, ("step",)),
            ablated_log_probs=NamedArray(q, ("step",)),
            clean_choices=would,
            ablated_choices=would_not,
        )

    one, two = clean.written, ablated.written
    different = [step for step, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]]
    shorter = min(len(one), len(two))
    return Generation(
        clean=continuation(one),
        ablated=continuation(two),
        divergence=different[0] if different else None if len(one) == len(two) else shorter,
        tokens=tuple(writing.tokens.tolist()),
        strings=tuple(model.strings(writing.tokens.tolist())),
        heads=writing.heads,
        mode=writing.mode,
        temperature=writing.temperature,
        seed=writing.seed,
        model=model,
        reference=writing.reference,
    )
