"""Finding the heads of a model by running it once, never by a table of architectures.

There are two ways to heads. Most architectures call the attention function they are given, which is ours. Those
that ignore it (GPT-Neo, GPT-J, Falcon, Bloom and MPT in transformers 5.23) are reached through what their
attention modules return beside the output: the pattern. Either way a model is taken only if every decoder layer
has one attention, with the same number of heads, and hands `z`, untouched, to one linear layer. Anything else is
refused by name; and what is found is verified by identities (`models.checks`) before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from head_atlas.errors import UnsupportedModelError
from head_atlas.models.attention import NAME, AttentionCall, recording_calls
from head_atlas.models.structure import Structure

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


@dataclass
class _Seen:
    """One call of a module."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


def find_structure(model: Any, tokens: Int[Tensor, "row pos"]) -> Structure:
    """Switch a model to the attention function it is measured with, and find its heads.

    Args:
        model: a causal language model of transformers, in eval mode.
        tokens: what the probing run reads.

    Raises:
        UnsupportedModelError: the architecture's heads cannot be reached exactly; the message says why.
    """
    name = type(model).__name__
    unembedding = model.get_output_embeddings()
    if unembedding is None:
        raise UnsupportedModelError(f"{name} has no unembedding")
    eager = model.config._attn_implementation == "eager"
    _switch(model, name)
    try:
        calls, seen = _run(model, tokens)
    except (RuntimeError, TypeError, AttributeError, ValueError, IndexError):
        calls, seen = [], {}  # a model that never calls us may stumble over our kind of mask
    if not calls:
        # Not by set_attn_implementation, which such an architecture ignores as well.
        model.config._attn_implementation = "eager"
        _, seen = _run(model, tokens)
        return _from_modules(model, name, tokens, seen, unembedding)
    return _from_calls(model, name, calls, seen, unembedding, eager)


def _switch(model: Any, name: str) -> None:
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise UnsupportedModelError(f"{name} does not take an attention function: {error}") from error


def _run(model: nn.Module, tokens: Tensor) -> tuple[list[AttentionCall], dict[nn.Module, _Seen]]:
    """Run a model once and keep what every module reads and returns."""
    seen: dict[nn.Module, _Seen] = {}

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        seen[module] = _Seen(args, kwargs, output)

    handles = [module.register_forward_hook(keep, with_kwargs=True) for module in model.modules()]
    try:
        with torch.no_grad(), recording_calls() as calls:
            model(input_ids=tokens, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return calls, seen


def _from_calls(
    model: Any, name: str, calls: list[AttentionCall], seen: dict[nn.Module, _Seen], unembedding: nn.Module, eager: bool
) -> Structure:
    n_layers = int(model.config.get_text_config().num_hidden_layers)
    if len(calls) != n_layers or len({id(call.module) for call in calls}) != n_layers:
        raise UnsupportedModelError(
            f"{name} has {n_layers} layers but calls attention {len(calls)} times: expected once per layer"
        )
    shapes = {(call.z.shape[2], call.n_kv_heads, call.z.shape[3]) for call in calls}
    if len(shapes) != 1:
        raise UnsupportedModelError(f"{name} has layers with different heads: {sorted(shapes)}")
    (n_heads, n_kv_heads, d_head) = shapes.pop()
    blocks = tuple(_block_of(model, name, call.module, n_layers) for call in calls)
    return Structure(
        blocks=blocks,
        attentions=tuple(call.module for call in calls),
        projections=tuple(_reader_of(name, call, seen) for call in calls),
        unembedding=unembedding,
        through_interface=True,
        eager=eager,
        residual=None,
        block_returns=_n_returned(seen[blocks[0]].output),
        attention_returns=_n_returned(seen[calls[0].module].output),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        d_model=int(seen[unembedding].args[0].shape[-1]),
        d_vocab=int(seen[unembedding].output.shape[-1]),
    )


def _from_modules(
    model: Any, name: str, tokens: Tensor, seen: dict[nn.Module, _Seen], unembedding: nn.Module
) -> Structure:
    """Find heads through the patterns that attention modules return."""
    n_layers = int(model.config.get_text_config().num_hidden_layers)
    attentions = _pattern_makers(model, seen, *tokens.shape)
    if len(attentions) != n_layers:
        raise UnsupportedModelError(
            f"{name} never calls the attention function it is given, and {len(attentions)} of its {n_layers} layers "
            "return a pattern: removing a head would silently do nothing"
        )
    projections, residuals = zip(*(_writer_of(name, module, seen) for module in attentions), strict=True)
    heads = {seen[module].output[1].shape[1] for module in attentions}
    widths = {seen[projection].args[0].shape[-1] for projection in projections}
    if len(heads) != 1 or len(widths) != 1 or len(set(residuals)) != 1:
        raise UnsupportedModelError(f"{name} has layers with different heads")
    n_heads, width = heads.pop(), widths.pop()
    if width % n_heads:
        raise UnsupportedModelError(f"{name}: {width} numbers into the output projection are not {n_heads} heads")
    blocks = tuple(_block_of(model, name, module, n_layers) for module in attentions)
    return Structure(
        blocks=blocks,
        attentions=tuple(attentions),
        projections=projections,
        unembedding=unembedding,
        through_interface=False,
        eager=True,
        residual=residuals[0],
        block_returns=_n_returned(seen[blocks[0]].output),
        attention_returns=_n_returned(seen[attentions[0]].output),
        n_heads=n_heads,
        n_kv_heads=n_heads,  # told from the values once they can be read
        d_head=width // n_heads,
        d_model=int(seen[unembedding].args[0].shape[-1]),
        d_vocab=int(seen[unembedding].output.shape[-1]),
    )


def _pattern_makers(model: nn.Module, seen: dict[nn.Module, _Seen], n_rows: int, n_pos: int) -> list[nn.Module]:
    """The innermost modules that return (output, pattern [row, head, pos, pos], ...)."""

    def makes(module: nn.Module) -> bool:
        output = seen[module].output if module in seen else None
        if not isinstance(output, tuple) or len(output) < 2 or not isinstance(output[1], torch.Tensor):
            return False
        shape = output[1].shape
        return len(shape) == 4 and shape[0] == n_rows and shape[2:] == (n_pos, n_pos)

    makers = [module for module in model.modules() if makes(module)]
    return [m for m in makers if not any(other is not m and other in makers for other in m.modules())]


def _block_of(model: nn.Module, name: str, attention: nn.Module, n_layers: int) -> nn.Module:
    """Return the decoder layer an attention module belongs to: the child of the list of layers above it."""
    path = next(path for path, module in model.named_modules() if module is attention).split(".")
    for end in range(len(path) - 1, 0, -1):
        parent = model.get_submodule(".".join(path[: end - 1]))
        if isinstance(parent, nn.ModuleList) and len(parent) == n_layers:
            return model.get_submodule(".".join(path[:end]))
    raise UnsupportedModelError(f"{name}: no list of {n_layers} layers holds {'.'.join(path)}")


def _reader_of(name: str, call: AttentionCall, seen: dict[nn.Module, _Seen]) -> nn.Module:
    """Return the linear layer that reads z and nothing else."""
    flat = call.z.flatten(2)
    for module in call.module.modules():
        if isinstance(module, (nn.Linear, Conv1D)) and module in seen:
            read = seen[module].args[0]
            if read.numel() == flat.numel() and torch.equal(read.reshape(flat.shape), flat):
                return module
    raise UnsupportedModelError(
        f"{name}: no output projection of {type(call.module).__name__} reads the heads' outputs unchanged"
    )


def _writer_of(name: str, attention: nn.Module, seen: dict[nn.Module, _Seen]) -> tuple[nn.Module, int | str | None]:
    """Return the linear layer whose output is the attention's, and the argument that is added to it, if any."""
    call = seen[attention]
    output = call.output[0]
    arguments: list[tuple[int | str, Any]] = [*enumerate(call.args), *call.kwargs.items()]
    tensors = {
        place: value
        for place, value in arguments
        if isinstance(value, torch.Tensor) and value.shape == output.shape and place != 0
    }
    for module in attention.modules():
        if isinstance(module, (nn.Linear, Conv1D)) and module in seen:
            written = seen[module].output
            if written.shape != output.shape:
                continue
            if torch.equal(written, output):
                return module, None
            for place, value in tensors.items():
                if torch.equal(written + value, output):
                    return module, place
    raise UnsupportedModelError(
        f"{name}: no linear layer of {type(attention).__name__} writes its output unchanged, so its heads cannot be "
        "reached before their output projection"
    )


def _n_returned(output: Any) -> int | None:
    return len(output) if isinstance(output, tuple) else None
