"""A loaded model whose heads can be read and changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from head_atlas.errors import ModelError, PromptError
from head_atlas.heads import HeadId
from head_atlas.models.attention import Intervention, intervening
from head_atlas.models.checks import Check, identity_checks
from head_atlas.models.readers import ReadPositions, Resume
from head_atlas.models.structure import Structure, find_structure, install, probe_tokens
from head_atlas.prompts.tokens import TokenPolicy

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class HeadModel:
    """A causal language model of transformers, with its heads in reach.

    Made by `load_model`; `HeadModel(model, tokenizer)` takes over a model that is already in memory (it is
    switched to our attention function for good). Thread-safe: interventions live in a ContextVar, so those
    of one thread never show in another's run.

    Args:
        model: in eval mode, of any dtype, on any device.
        tokenizer: a fast tokenizer.
        model_id: hub id or folder, as the user gave it.
        revision: commit on the hub, or "" for a local folder.
        fingerprint: sha256 of the weights, or "" where there are no files.

    Attributes:
        policy: the one way from text to tokens.
        max_length: most tokens of a prompt, BOS counted in.
        checks: the identities that were verified before this object existed.

    Raises:
        UnsupportedModelError: the heads cannot be reached exactly.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, model_id: str = "", revision: str = "", fingerprint: str = ""
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.policy = TokenPolicy(tokenizer)
        self.model_id, self.revision, self.fingerprint = model_id, revision, fingerprint
        text_config = model.config.get_text_config()
        self.max_length = int(getattr(text_config, "max_position_embeddings", None) or 1024)
        self.dtype: torch.dtype = next(model.parameters()).dtype
        self.device: torch.device = next(model.parameters()).device
        probe = probe_tokens(int(text_config.vocab_size), n_rows=3, n_pos=min(10, self.max_length))
        probe = probe.to(self.device)
        try:
            with torch.no_grad():
                plain = self.model(input_ids=probe, use_cache=False).logits
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"{type(model).__name__} does not run in {self.dtype} on {self.device}: {error}"
            ) from error
        self.structure: Structure = find_structure(model, probe)
        install(self.structure, self)
        self.n_layers, self.n_heads = self.structure.n_layers, self.structure.n_heads
        self.n_kv_heads, self.d_head = self.structure.n_kv_heads, self.structure.d_head
        self.d_model, self.d_vocab = self.structure.d_model, self.structure.d_vocab
        self.checks: tuple[Check, ...] = identity_checks(self, probe, plain)

    def tokens(self, text: str) -> Int[Tensor, " pos"]:
        """Token ids of a prompt, BOS first, on the model's device.

        Raises:
            PromptError: the text is empty or longer than the model reads.
        """
        return self.rows([self.policy.encode(text, max_length=self.max_length)])[0]

    def rows(self, prompts: Iterable[Sequence[int]]) -> Int[Tensor, "prompt pos"]:
        """Stack prompts of one length.

        Raises:
            PromptError: a prompt is too long, or holds an id that the model does not have.
        """
        rows = torch.tensor([list(ids) for ids in prompts], dtype=torch.long)
        if rows.shape[-1] > self.max_length:
            raise PromptError(f"the prompt is {rows.shape[-1]} tokens long; this model reads {self.max_length}")
        if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < self.d_vocab:
            raise PromptError(f"token ids must lie in 0..{self.d_vocab - 1}, found {int(rows.max())}")
        return rows.to(self.device)

    def strings(self, ids: Iterable[int]) -> list[str]:
        """Each token decoded alone."""
        return self.policy.strings([int(i) for i in ids])

    def heads(self, names: Iterable[HeadId | str | tuple[int, int]] | HeadId | str) -> tuple[HeadId, ...]:
        """Read heads of this model, each once, in order.

        Raises:
            HeadError: a name that is no head, or a head that the model does not have.
        """
        listed = [names] if isinstance(names, (HeadId, str)) else list(names)
        heads = [HeadId.parse(name).within(self.n_layers, self.n_heads) for name in listed]
        return tuple(dict.fromkeys(heads))

    def intervening(self, *interventions: Intervention) -> AbstractContextManager[None]:
        """Apply interventions to this model's runs in this thread until the context is left."""
        return intervening(self, *interventions)

    @torch.no_grad()
    def logits(
        self, tokens: Int[Tensor, "batch pos"], read: Int[Tensor, "batch read"] | None = None
    ) -> Float[Tensor, "batch read d_vocab"]:
        """Run the model under the active interventions.

        Args:
            tokens: rows of one length, without padding.
            read: positions of each row to unembed; None for all.
        """
        if read is None:
            return self.model(input_ids=tokens, use_cache=False).logits
        with self.intervening(ReadPositions(read)):
            return self.model(input_ids=tokens, use_cache=False).logits

    @torch.no_grad()
    def resume(
        self,
        layer: int,
        hidden: Float[Tensor, "batch pos d_model"],
        attention_output: Float[Tensor, "batch pos d_model"],
        tokens: Int[Tensor, "batch pos"],
        read: Int[Tensor, "batch read"],
    ) -> Float[Tensor, "batch read d_vocab"]:
        """Run from one layer on, with its attention's output given instead of computed.

        In the last layer what is left is position by position, so only the positions that are read are run.

        Args:
            layer: the first one that runs.
            hidden: the residual stream that it reads.
            attention_output: what its attention is to write.
            tokens: of the same rows; the forward pass makes masks and positions for them.
            read: positions of each row to unembed.
        """
        if layer < self.n_layers - 1:
            with self.intervening(Resume(layer, hidden, attention_output)):
                return self.logits(tokens, read)
        index = read[:, :, None].expand(-1, -1, hidden.shape[-1])
        rest = Resume(layer, hidden.gather(1, index), attention_output.gather(1, index))
        with self.intervening(rest):
            return self.logits(tokens.gather(1, read))

    def output_weights(
        self, layer: int
    ) -> tuple[Float[Tensor, "head d_head d_model"], Float[Tensor, " d_model"] | None]:
        """W_O of each head of a layer, and b_O (None where there is none)."""
        return self.structure.output_weights(layer)

    def __repr__(self) -> str:
        size = f"{self.n_layers} layers x {self.n_heads} heads"
        return f"<HeadModel {self.model_id or type(self.model).__name__}: {size}, {self.dtype}, {self.device}>"
