"""The number that a token attribution explains, and runs of the model that give it.

    f = logit(y) - logit(y') with a contrast y', else log p(y)

after the last token of a prompt; never a probability, whose gradient vanishes where the model is sure. Only token
embeddings move: positions stay fixed, and so does BOS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from head_atlas.errors import PromptError, UnsupportedModelError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget, Mode, Reference, ablating, budget_for
from head_atlas.interventions.packing import numbers_per_token
from head_atlas.measures.effects import as_prompts
from head_atlas.models import HeadModel
from head_atlas.models.last_position import last_logits
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

MOST_KEPT = 2**25
"""Numbers that a backward pass may keep in any case: 128 MiB in float32."""
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_REACHED: WeakKeyDictionary[HeadModel, bool] = WeakKeyDictionary()


@dataclass(frozen=True)
class Explained:
    """One prediction of a model, with some heads removed or none.

    Attributes:
        model: that predicts.
        prompt: read at its last token.
        heads: removed in every run.
        mode: what their output becomes.
        reference: what the mode needs.
        budget: how much runs at once.
    """

    model: HeadModel
    prompt: Prompt
    heads: tuple[HeadId, ...]
    mode: Mode
    reference: Reference | None
    budget: Budget

    @classmethod
    def of(
        cls,
        model: HeadModel,
        prompt: str | Prompt,
        target: str | int | None,
        contrast: str | int | None,
        heads: Any,
        mode: Mode,
        reference: Reference | None,
        budget: Budget | None,
    ) -> Explained:
        """Check what is asked.

        Raises:
            PromptError: the prompt is empty or too long, has no target at its last token, or a target is not one
                token.
            HeadError: a head that the model does not have.
            MissingReferenceError: a mode without a fitting reference.
        """
        removed = model.heads(heads)
        (one,) = as_prompts(model, prompt, target, contrast)
        if one.positions[-1] != len(one) - 1:
            raise PromptError("the last position of the prompt has no target: expected one to be read there")
        ablating(model, removed, mode, reference)  # says at once that a reference is missing
        return cls(model, one, removed, mode, reference, budget or budget_for(model))

    @property
    def target(self) -> int:
        """Id of the token whose prediction is explained."""
        return self.prompt.targets[-1]

    @property
    def contrast(self) -> int | None:
        """Id of the token it is held against, if any."""
        return self.prompt.contrasts[-1] if self.prompt.contrasts else None

    @property
    def tokens(self) -> Int[Tensor, " pos"]:
        """Ids of the prompt, BOS first."""
        return self.model.rows([self.prompt.tokens])[0]

    @property
    def n_fixed(self) -> int:
        """Tokens at the start that stay as they are: BOS, or none."""
        prefix = self.model.policy.prefix
        return len(prefix) if self.prompt.tokens[: len(prefix)] == prefix else 0

    @property
    def moving(self) -> range:
        """Positions of the tokens that are explained."""
        return range(self.n_fixed, len(self.prompt))

    def of_logits(self, logits: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch"]:
        """f, in float32 or wider."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.contrast is not None:
            return logits[..., self.target] - logits[..., self.contrast]
        return logits.log_softmax(-1)[..., self.target]

    @torch.no_grad()
    def of_rows(
        self, tokens: Int[Tensor, "row pos"], seen: Bool[Tensor, "row pos"] | None = None
    ) -> Float[Tensor, " row"]:
        """Return f of each row of tokens, which run together: at most `rows_at_once`."""
        return self._f(tokens, None, seen)

    @torch.no_grad()
    def of_embeddings(self, embeddings: Float[Tensor, "row pos d_embed"]) -> Float[Tensor, " row"]:
        """Return f of each row of embeddings, which run together: at most `rows_at_once`."""
        return self._f(self.tokens.expand(len(embeddings), -1), embeddings, None)

    def gradient(
        self, embeddings: Float[Tensor, "row pos d_embed"]
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, "row pos d_embed"]]:
        """Return f of each row of embeddings, and its gradient there; at most `gradients_at_once` rows."""
        embeddings = embeddings.detach().requires_grad_()
        with torch.enable_grad():
            f = self._f(self.tokens.expand(len(embeddings), -1), embeddings, None)
            (gradient,) = torch.autograd.grad(f.sum(), embeddings)
        return f.detach(), gradient

    @property
    def embeddings(self) -> Float[Tensor, "pos d_embed"]:
        """Embeddings of the prompt's tokens."""
        return self.model.embeddings(self.tokens)

    @property
    def rows_at_once(self) -> int:
        """Rows of the prompt's length that run together without gradients."""
        logits = max(1, self.budget.logits // self.model.d_vocab)
        return max(1, min(self.budget.tokens // len(self.prompt), logits))

    @property
    def gradients_at_once(self) -> int:
        """Rows that run together with gradients: a backward pass keeps every layer, a run only the widest.

        So only a layer's share of the rows that run without, or, in a small model, what `MOST_KEPT` numbers hold.
        """
        kept = self.model.n_layers * numbers_per_token(self.model) * len(self.prompt)
        return max(1, self.rows_at_once // self.model.n_layers, min(self.rows_at_once, MOST_KEPT // kept))

    def _f(self, tokens: Tensor, embeddings: Tensor | None, seen: Tensor | None) -> Float[Tensor, " row"]:
        with self._without_heads():
            return self.of_logits(last_logits(self.model, tokens, embeddings=embeddings, seen=seen))

    def _without_heads(self) -> AbstractContextManager[Any]:
        return ablating(self.model, self.heads, self.mode, self.reference)


def in_parts(n: int, most: int) -> Iterator[slice]:
    """Cut n rows into as few parts as possible, of nearly one size."""
    n_parts = -(-n // most)
    for part in range(n_parts):
        yield slice(n * part // n_parts, n * (part + 1) // n_parts)


@torch.no_grad()
def check_embeddings(model: HeadModel) -> None:
    """Make sure that a model sees its tokens through their embeddings, and through nothing else.

    Runs once for a model: token ids and their embeddings must give the same logits.

    Raises:
        UnsupportedModelError: they do not; attributions to embeddings would miss a part, and are refused.
    """
    if model in _REACHED:
        return
    name = type(model.model).__name__
    n_pos = min(6, model.max_length)
    tokens = torch.arange(2 * n_pos, device=model.device).view(2, n_pos) % model.d_vocab
    try:
        by_id = model.run(tokens)
        by_embedding = model.run(tokens, embeddings=model.embeddings(tokens))
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UnsupportedModelError(f"{name}: it does not run from token embeddings: {error}") from error
    spread = max(float(by_id.double().std()), 1e-30)
    deviation = float((by_id.double() - by_embedding.double()).abs().max()) / spread
    if not deviation <= _TOLERANCE.get(model.dtype, 5e-2):
        raise UnsupportedModelError(
            f"{name}: token ids and their embeddings give different logits (deviation {deviation:.3g} of their "
            "spread), so tokens act on it by another way too, which an attribution to embeddings would miss"
        )
    _REACHED[model] = True


def stream_of(model: HeadModel, corpus: Sequence[str | Prompt]) -> Int[Tensor, " token"]:
    """Tokens of texts one after the other, without BOS.

    Raises:
        PromptError: there is none.
    """
    prefix = model.policy.prefix
    ids: list[int] = []
    for text in corpus:
        if isinstance(text, str):
            ids += model.policy.pieces_of(text)
        else:
            own = text.tokens
            ids += own[len(prefix) :] if own[: len(prefix)] == prefix else own
    if not ids:
        raise PromptError("the corpus has no token: give texts, or prompts")
    return torch.cat([model.rows([ids[at : at + model.max_length]])[0] for at in range(0, len(ids), model.max_length)])
