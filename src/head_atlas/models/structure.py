"""Where the heads are: found by running a model once, never by a table of architectures.

A model is taken only if every decoder layer calls our attention function exactly once, with the same number
of heads, and hands `z`, untouched, to one linear layer (the output projection). Anything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from head_atlas.errors import UnsupportedModelError
from head_atlas.models.attention import NAME, AttentionCall, Site, active, recording_calls

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Structure:
    """The modules of a model by layer, and its sizes.

    Attributes:
        eager: the architecture computes attention eagerly by default, so we do as well.
    """

    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    projections: tuple[nn.Module, ...]
    unembedding: nn.Module
    eager: bool
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_vocab: int

    @property
    def n_layers(self) -> int:
        """Number of decoder layers."""
        return len(self.blocks)

    def output_weights(
        self, layer: int
    ) -> tuple[Float[Tensor, "head d_head d_model"], Float[Tensor, " d_model"] | None]:
        """W_O of each head, and b_O (None where the projection has no bias)."""
        projection: Any = self.projections[layer]
        weight = projection.weight if isinstance(projection, Conv1D) else projection.weight.T
        return weight.reshape(self.n_heads, self.d_head, -1), projection.bias


def probe_tokens(d_vocab: int, *, n_rows: int, n_pos: int) -> Int[Tensor, "row pos"]:
    """Fixed random ids, the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, d_vocab, (n_rows, n_pos), generator=generator)


def find_structure(model: Any, tokens: Int[Tensor, "row pos"]) -> Structure:
    """Switch a model to our attention function and find its heads.

    Args:
        model: a causal language model of transformers, in eval mode.
        tokens: what the probing run reads.

    Raises:
        UnsupportedModelError: the architecture's heads cannot be reached exactly; the message says why.
    """
    name = type(model).__name__
    n_layers = int(model.config.get_text_config().num_hidden_layers)
    eager = model.config._attn_implementation == "eager"
    _switch(model, name)
    inputs: dict[nn.Module, Tensor] = {}

    def keep_input(module: nn.Module, args: tuple[Any, ...]) -> None:
        inputs[module] = args[0].detach()

    linears = [m for m in model.modules() if isinstance(m, (nn.Linear, Conv1D))]
    handles = [linear.register_forward_pre_hook(keep_input) for linear in linears]
    try:
        with torch.no_grad(), recording_calls() as calls:
            logits = model(input_ids=tokens, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise UnsupportedModelError(
            f"{name} never calls the attention function it is given: removing a head would silently do nothing"
        )
    if len(calls) != n_layers or len({id(call.module) for call in calls}) != n_layers:
        raise UnsupportedModelError(
            f"{name} has {n_layers} layers but calls attention {len(calls)} times: expected once per layer"
        )
    shapes = {(call.z.shape[2], call.n_kv_heads, call.z.shape[3]) for call in calls}
    if len(shapes) != 1:
        raise UnsupportedModelError(f"{name} has layers with different heads: {sorted(shapes)}")
    (n_heads, n_kv_heads, d_head) = shapes.pop()
    unembedding = model.get_output_embeddings()
    if unembedding is None:
        raise UnsupportedModelError(f"{name} has no unembedding")
    return Structure(
        blocks=tuple(_block_of(model, name, call.module, n_layers) for call in calls),
        attentions=tuple(call.module for call in calls),
        projections=tuple(_projection_of(name, call, inputs) for call in calls),
        unembedding=unembedding,
        eager=eager,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        d_model=int(inputs[unembedding].shape[-1]),
        d_vocab=int(logits.shape[-1]),
    )


def _switch(model: Any, name: str) -> None:
    """Let the model call our attention function from now on."""
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise UnsupportedModelError(f"{name} does not take an attention function: {error}") from error


def _block_of(model: nn.Module, name: str, attention: nn.Module, n_layers: int) -> nn.Module:
    """Return the decoder layer an attention module belongs to: the child of the list of layers above it."""
    path = next(path for path, module in model.named_modules() if module is attention).split(".")
    for end in range(len(path) - 1, 0, -1):
        parent = model.get_submodule(".".join(path[: end - 1]))
        if isinstance(parent, nn.ModuleList) and len(parent) == n_layers:
            return model.get_submodule(".".join(path[:end]))
    raise UnsupportedModelError(f"{name}: no list of {n_layers} layers holds {'.'.join(path)}")


def _projection_of(name: str, call: AttentionCall, inputs: dict[nn.Module, Tensor]) -> nn.Module:
    """Return the linear layer that reads z and nothing else."""
    flat = call.z.flatten(2)
    for module in call.module.modules():
        seen = inputs.get(module)
        if seen is not None and seen.numel() == flat.numel() and torch.equal(seen.reshape(flat.shape), flat):
            return module
    raise UnsupportedModelError(
        f"{name}: no output projection of {type(call.module).__name__} reads the heads' outputs unchanged"
    )


def install(structure: Structure, owner: object) -> None:
    """Let layers, attention modules and the unembedding obey the interventions on `owner`.

    Without an active intervention the modules run exactly as before. This is done once, on a model that was
    loaded for Head Atlas and belongs to it.
    """
    for layer, (block, attention) in enumerate(zip(structure.blocks, structure.attentions, strict=True)):
        attention._head_atlas_site = Site(owner, layer, structure.eager)  # type: ignore[assignment]
        _wrap_block(block, owner, layer)
        _wrap_attention(attention, owner, layer)
    _wrap_unembedding(structure.unembedding, owner)


def _wrap_block(block: nn.Module, owner: object, layer: int) -> None:
    plain = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        interventions = active(owner)
        if not interventions:
            return plain(*args, **kwargs)
        hidden = args[0] if args else kwargs.pop("hidden_states")
        for intervention in interventions:
            hidden = intervention.on_layer_input(layer, hidden)
        if any(intervention.skips(layer) for intervention in interventions):
            return hidden
        return plain(hidden, *args[1:], **kwargs)

    block.forward = forward


def _wrap_attention(attention: nn.Module, owner: object, layer: int) -> None:
    plain = attention.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        interventions = active(owner)
        for intervention in interventions:
            given = intervention.attention_output(layer)
            if given is not None:
                return given, None
        output = plain(*args, **kwargs)
        for intervention in interventions:
            intervention.on_attention_output(layer, output[0])
        return output

    attention.forward = forward


def _wrap_unembedding(unembedding: nn.Module, owner: object) -> None:
    plain = unembedding.forward

    def forward(hidden: Tensor) -> Tensor:
        for intervention in active(owner):
            hidden = intervention.on_unembed(hidden)
        return plain(hidden)

    unembedding.forward = forward
