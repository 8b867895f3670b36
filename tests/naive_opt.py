"""Patching in plain transformers by forward hooks, whole runs only: the slow twin of the package's own way. OPT."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tiny_models import CONFIGS, plain_model

N_LAYERS, N_HEADS, D_HEAD = 3, 4, 8
MODEL = plain_model(CONFIGS["opt"](), torch.float64)


def place_of(name: str, layer: int) -> tuple[torch.nn.Module, bool]:
    """The module of a place, and whether the place is its input."""
    block = MODEL.model.decoder.layers[layer]
    attention = block.self_attn
    return {
        "resid_pre": (block, True),
        "z": (attention.out_proj, True),
        "attn_out": (attention.out_proj, False),
        "mlp_out": (block.fc2, False),
        "q": (attention.q_proj, False),
        "k": (attention.k_proj, False),
        "v": (attention.v_proj, False),
    }[name]


@contextmanager
def hooked(name: str, layer: int, change: Callable[[torch.Tensor], torch.Tensor | None]):
    """Let a function see a place, [batch, pos, ...], and change it if it returns something."""
    module, is_input = place_of(name, layer)

    def before(_: Any, args: Any, kwargs: Any) -> Any:
        value = args[0] if args else kwargs["hidden_states"]
        new = change(value.clone())
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    def after(_: Any, __: Any, output: torch.Tensor) -> Any:
        if output.ndim == 3:
            return change(output.clone())
        new = change(output[None].clone())  # the MLP has flattened the rows of the one prompt
        return None if new is None else new[0]

    if is_input:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def run(tokens: torch.Tensor, *hooks: tuple[str, int, Callable]) -> torch.Tensor:
    with torch.no_grad(), ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hooked(*hook))
        return MODEL(input_ids=tokens).logits


def keep(tokens: torch.Tensor, name: str, layer: int, *hooks: tuple[str, int, Callable]) -> torch.Tensor:
    kept = []
    run(tokens, *hooks, (name, layer, lambda x: kept.append(x)))
    return kept[0]


def put(value: torch.Tensor, head: int | None = None, position: int | None = None) -> Callable:
    """A change that takes some columns (of a head) and rows (of a position) from a value."""
    columns = slice(None) if head is None else slice(head * D_HEAD, (head + 1) * D_HEAD)
    rows = slice(None) if position is None else position

    def change(x: torch.Tensor) -> torch.Tensor:
        x[:, rows, columns] = value[:, rows, columns]
        return x

    return change
