"""Letting the modules of a model obey the interventions on it.

Without an active intervention the modules run exactly as before. This is done once, on a model that was loaded
for Head Atlas and belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from head_atlas.models.attention import Site
from head_atlas.models.intervention import GivenAttention, active, first_position, tell_pattern
from head_atlas.models.structure import Structure

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

ValuesOf = Callable[[int, "Tensor"], "Tensor"]

_N_CACHED: ContextVar[int] = ContextVar("head_atlas_cached", default=0)


def install(structure: Structure, owner: object, values_of: ValuesOf) -> None:
    """Wrap the layers, their attention modules and output projections, and the unembedding.

    Args:
        structure: of the model.
        owner: the token that interventions name the model by.
        values_of: values of a layer's heads, from the layer's input; asked where attention does not go
            through our function.
    """
    for layer in range(structure.n_layers):
        structure.attentions[layer]._head_atlas_site = Site(owner, layer, structure.eager)  # type: ignore[assignment]
        _wrap_block(structure, owner, layer, values_of)
        _wrap_attention(structure, owner, layer)
        _wrap_projection(structure, owner, layer)
    _wrap_unembedding(structure.unembedding, owner)


def _wrap_block(structure: Structure, owner: object, layer: int, values_of: ValuesOf) -> None:
    block = structure.blocks[layer]
    plain = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        interventions = active(owner)
        if not interventions:
            return plain(*args, **kwargs)
        hidden = args[0] if args else kwargs.pop("hidden_states")
        for intervention in interventions:
            hidden = intervention.on_layer_input(layer, hidden)
            intervention.on_layer_arguments(layer, args[1:], kwargs)
        if any(intervention.skips(layer) for intervention in interventions):
            return _returned(hidden, structure.block_returns)
        readers = [intervention for intervention in interventions if intervention.wants_values]
        if readers and not structure.through_interface:
            values = values_of(layer, hidden)
            for reader in readers:
                reader.on_values(layer, values)
        output = plain(hidden, *args[1:], **kwargs)
        for intervention in interventions:
            intervention.on_layer_output(layer, output[0] if isinstance(output, tuple) else output)
        return output

    block.forward = forward


def _wrap_attention(structure: Structure, owner: object, layer: int) -> None:
    attention = structure.attentions[layer]
    plain = attention.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        interventions = active(owner)
        if not interventions:
            return plain(*args, **kwargs)
        given = next((g for g in (i.given_attention(layer) for i in interventions) if g is not None), None)
        if given is not None and given.first_row == 0:
            return _returned(_with_residual(given, structure, args, kwargs), structure.attention_returns)
        if given is not None:
            rest = _with_residual(given, structure, args, kwargs)
            args, kwargs = _first_rows(given.first_row, structure, args, kwargs)
        hidden = args[0] if args else kwargs["hidden_states"]
        for intervention in interventions:
            hidden = intervention.on_attention_input(layer, hidden)
        args, kwargs = ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})
        cache = next((a for a in (*args, *kwargs.values()) if hasattr(a, "get_seq_length")), None)
        token = _N_CACHED.set(0 if cache is None else cache.get_seq_length(layer))
        try:
            output = plain(*args, **kwargs)
        finally:
            _N_CACHED.reset(token)
        if not structure.through_interface:
            for reader in interventions:
                if reader.wants_pattern:
                    tell_pattern(reader, layer, output[1])
        own = output if structure.attention_returns is None else output[0]
        if given is None:
            if structure.residual is None:
                for intervention in interventions:
                    intervention.on_attention_output(layer, own)
            return output
        return _returned(torch.cat([own, rest]), structure.attention_returns)

    attention.forward = forward


def _wrap_projection(structure: Structure, owner: object, layer: int) -> None:
    projection = structure.projections[layer]
    plain = projection.forward

    def forward(flat: Float[Tensor, "batch pos width"]) -> Float[Tensor, "batch pos d_model"]:
        interventions = active(owner)
        first = first_position(_N_CACHED.get())
        if not isinstance(first, int) and not structure.through_interface:
            # Some formulas make NaN of padding, which has no key to attend to, and values of NaN spread.
            position = torch.arange(flat.shape[1], device=flat.device) + first[:, None]
            flat = flat.masked_fill((position < 0)[..., None], 0)
        if not interventions:
            return plain(flat)
        z = flat.view(*flat.shape[:-1], structure.n_heads, structure.d_head)
        for intervention in interventions:
            z = intervention.on_z(layer, z, first)
        output = plain(z.reshape(flat.shape))
        if structure.residual is not None:  # the attention module adds to it
            for intervention in interventions:
                intervention.on_attention_output(layer, output)
        return output

    projection.forward = forward


def _wrap_unembedding(unembedding: nn.Module, owner: object) -> None:
    plain = unembedding.forward

    def forward(hidden: Tensor) -> Tensor:
        for intervention in active(owner):
            hidden = intervention.on_unembed(hidden)
        return plain(hidden)

    unembedding.forward = forward


def tell_mlp_output(module: nn.Module, owner: object, layer: int) -> None:
    """Let the module that writes an MLP's output tell interventions what it writes, and obey them."""
    plain = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        returned = plain(*args, **kwargs)
        interventions = active(owner)
        if not interventions:
            return returned
        output = returned[0] if isinstance(returned, tuple) else returned
        for intervention in interventions:
            output = intervention.change_mlp_output(layer, output)
            intervention.on_mlp_output(layer, output)
        return (output, *returned[1:]) if isinstance(returned, tuple) else output

    module.forward = forward


def tell_neurons(down: nn.Module, owner: object, layer: int) -> None:
    """Let an MLP's down projection tell interventions what it reads: the activations of the hidden units."""
    plain = down.forward

    def forward(hidden: Tensor) -> Tensor:
        for intervention in active(owner):
            intervention.on_neurons(layer, hidden)
        return plain(hidden)

    down.forward = forward


def _returned(first: Tensor, n_returned: int | None) -> Any:
    return first if n_returned is None else (first, *(None,) * (n_returned - 1))


def _with_residual(
    given: GivenAttention, structure: Structure, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Attention output as the attention module returns it."""
    if structure.residual is None:
        return given.output
    added = args[structure.residual] if isinstance(structure.residual, int) else kwargs[structure.residual]
    return given.output + added[given.first_row :]


def _first_rows(
    n_rows: int, structure: Structure, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of an attention module for the first rows; masks and positions are theirs already."""
    listed, named = list(args), dict(kwargs)
    for place in (0 if args else "hidden_states", structure.residual):
        if isinstance(place, int):
            listed[place] = listed[place][:n_rows]
        elif place is not None:
            named[place] = named[place][:n_rows]
    return tuple(listed), named
