"""A loaded model whose heads can be read and changed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import lru_cache, partial
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import torch

from head_atlas.errors import ModelError, PromptError, UnsupportedModelError
from head_atlas.heads import HeadId
from head_atlas.models.anatomy import Anatomy, find_anatomy
from head_atlas.models.checks import Check, identity_checks
from head_atlas.models.discovery import find_structure
from head_atlas.models.intervention import Intervention, intervening, rows_start_at, without_interventions
from head_atlas.models.kernels import use_fast_kernels
from head_atlas.models.layerwise import Layerwise
from head_atlas.models.readers import ReachedZ, ReadPositions, StopAtZ, ValueReader
from head_atlas.models.structure import Structure, probe_tokens
from head_atlas.models.weights import LayerPlaces, find_places
from head_atlas.models.wrapping import install
from head_atlas.prompts.tokens import TokenPolicy

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
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
        lengths = (getattr(text_config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
        self.max_length = int(next((length for length in lengths if length), 1024))
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
        use_fast_kernels(model)
        with torch.no_grad():
            fast = self.model(input_ids=probe, use_cache=False).logits
        self.structure: Structure = find_structure(model, probe)
        bare = fast
        if not self.structure.through_interface:
            with torch.no_grad():
                bare = self.model(input_ids=probe, use_cache=False).logits
        self._finding = Lock()
        self._anatomy: Anatomy | None = None
        self._places: tuple[LayerPlaces, ...] | None = None
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        install(self.structure, self, self._values_of)
        self._layerwise = lru_cache(maxsize=8)(partial(Layerwise, self))
        self.n_layers, self.n_heads = self.structure.n_layers, self.structure.n_heads
        self.d_head = self.structure.d_head
        self.d_model, self.d_vocab = self.structure.d_model, self.structure.d_vocab
        self.n_kv_heads = self.structure.n_kv_heads
        self.checks: tuple[Check, ...] = identity_checks(self, probe, plain, fast, bare)
        if not self.structure.through_interface:
            self.n_kv_heads = self._count_values(probe)

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
        self,
        tokens: Int[Tensor, "batch pos"],
        read: Int[Tensor, "batch read"] | None = None,
        mask: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch read d_vocab"]:
        """Run the model under the active interventions.

        Args:
            tokens: rows of one length.
            read: positions of each row to unembed, counted from the start of the row; None for all.
            mask: False where a row is padded, on either side; None where none is. The logits of padding mean
                nothing; those of tokens are the same as without it.
        """
        return self.run(tokens, read, mask)

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        read: Int[Tensor, "batch read"] | None = None,
        mask: Bool[Tensor, "batch pos"] | None = None,
        embeddings: Float[Tensor, "batch pos d_embed"] | None = None,
        seen: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch read d_vocab"]:
        """Like `logits`, and gradients flow where an intervention asks for them, or `embeddings` do.

        Args:
            tokens: rows of one length.
            read: as in `logits`.
            mask: likewise.
            embeddings: in place of the tokens' own; see `embeddings`.
            seen: False where nothing attends to a token; it and all others keep their positions. Not with `mask`.
        """
        with ExitStack() as contexts:
            if read is not None:
                contexts.enter_context(self.intervening(ReadPositions(read)))
            arguments: dict[str, Tensor] = {}
            if mask is not None:
                positions = mask.long().cumsum(-1) - 1
                arguments["attention_mask"] = mask.long()
                if self._takes_positions:
                    arguments["position_ids"] = positions.clamp(min=0)
                # a row that starts with n pads starts at position -n
                contexts.enter_context(rows_start_at(-mask.long().argmax(-1)))
            if seen is not None:
                arguments["attention_mask"] = seen.long()
                if self._takes_positions:
                    arguments["position_ids"] = torch.arange(seen.shape[1], device=seen.device).expand(seen.shape)
            if embeddings is None:
                arguments["input_ids"] = tokens
            else:
                arguments["inputs_embeds"] = embeddings
            return self.model(use_cache=False, **arguments).logits

    @torch.no_grad()
    def embeddings(self, tokens: Int[Tensor, "*batch pos"]) -> Float[Tensor, "*batch pos d_embed"]:
        """Embeddings of tokens, before positions and whatever else the model adds or scales afterwards."""
        return self.model.get_input_embeddings()(tokens)

    def attend(self, tokens: Int[Tensor, "batch pos"]) -> None:
        """Run the model as far as its last attention, for the active interventions to read patterns and z."""
        first = torch.zeros(len(tokens), 1, dtype=torch.long, device=self.device)
        if not self.structure.through_interface:  # there the pattern comes with the attention's output
            self.logits(tokens, first)
            return
        with suppress(ReachedZ), self.intervening(StopAtZ(self.n_layers - 1)):
            self.logits(tokens, first)

    def layerwise(self, n_pos: int) -> Layerwise:
        """The layers, each to be run alone on rows of that length."""
        return self._layerwise(n_pos)

    def padded(
        self, prompts: Sequence[Sequence[int]], side: Literal["left", "right"] = "right"
    ) -> tuple[Int[Tensor, "prompt pos"], Bool[Tensor, "prompt pos"]]:
        """Stack prompts of any lengths: tokens, and a mask that is False on padding.

        Raises:
            PromptError: a prompt is too long, or holds an id that the model does not have.
        """
        longest = max(len(ids) for ids in prompts)
        pads = [[0] * (longest - len(ids)) for ids in prompts]
        both = [
            (pad, list(ids)) if side == "left" else (list(ids), pad) for ids, pad in zip(prompts, pads, strict=True)
        ]
        tokens = self.rows([one + two for one, two in both])
        real = [[side == "right"] * len(one) + [side == "left"] * len(two) for one, two in both]
        return tokens, torch.tensor(real, device=self.device)

    def require_attention_inputs(self) -> None:
        """Make sure that `Intervention.on_attention` is called in every layer.

        Raises:
            UnsupportedModelError: the architecture computes attention by itself.
        """
        if not self.structure.through_interface:
            raise UnsupportedModelError(
                f"{type(self.model).__name__} computes attention by itself, so q, k and v of a head cannot be read or "
                "patched there; z can"
            )

    def _values_of(
        self, layer: int, hidden: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Values of a layer's heads: a row of one position attends to itself alone, so its z is its value."""
        with without_interventions():
            z = self.layerwise(1).z(layer, hidden.flatten(0, 1)[:, None])
        return z.view(*hidden.shape[:2], self.n_heads, self.d_head)

    def _count_values(self, tokens: Int[Tensor, "batch pos"]) -> int:
        """Number of heads with values of their own in the first layer."""
        reader = ValueReader()
        with self.intervening(reader):
            self.logits(tokens)
        by_head = reader.values[0].flatten(0, 1).transpose(0, 1)
        return 1 + sum(not torch.equal(one, two) for one, two in pairwise(by_head))

    def output_weights(
        self, layer: int
    ) -> tuple[Float[Tensor, "head d_head d_model"], Float[Tensor, " d_model"] | None]:
        """W_O of each head of a layer, and b_O (None where there is none)."""
        return self.structure.output_weights(layer)

    @property
    def anatomy(self) -> Anatomy:
        """How the layers write into the residual stream and how it is read, found out at first use.

        Raises:
            NotApplicableError: the architecture has another form.
        """
        with self._finding:  # once: it lets modules tell what they do
            if self._anatomy is None:
                self._anatomy = find_anatomy(self)
            return self._anatomy

    @property
    def weight_places(self) -> tuple[LayerPlaces, ...]:
        """Where each layer's queries, keys and values are projected, found out at first use."""
        with self._finding:
            if self._places is None:
                self._places = find_places(self)
            return self._places

    def project(self, layer: int, z: Float[Tensor, "row pos head d_head"]) -> Float[Tensor, "row pos d_model"]:
        """Attention output of a layer: z W_O + b_O."""
        weight, bias = self.output_weights(layer)
        output = z.flatten(2) @ weight.flatten(0, 1)
        return output if bias is None else output + bias

    def __repr__(self) -> str:
        size = f"{self.n_layers} layers x {self.n_heads} heads"
        return f"<HeadModel {self.model_id or type(self.model).__name__}: {size}, {self.dtype}, {self.device}>"
