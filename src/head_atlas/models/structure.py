"""Where the heads of a model are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Structure:
    """The modules of a model by layer, and its sizes.

    Attributes:
        blocks: decoder layers.
        attentions: their attention modules.
        projections: the linear layers that read z, head by head, and nothing else.
        unembedding: the last linear layer.
        through_interface: attention goes through our function; else patterns are what attention modules return.
        eager: the architecture computes attention eagerly by default, so we do as well.
        residual: argument of the attention modules (its place or name) that they add to their output; None
            where they add nothing, as in all but Bloom.
        block_returns: number of things that a block returns in a tuple; None for a bare tensor.
        attention_returns: likewise for attention modules.
    """

    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    projections: tuple[nn.Module, ...]
    unembedding: nn.Module
    through_interface: bool
    eager: bool
    residual: int | str | None
    block_returns: int | None
    attention_returns: int | None
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_vocab: int

    @property
    def n_layers(self) -> int:
        """Number of decoder layers."""
        return len(self.blocks)

    @property
    def widest(self) -> int:
        """Outputs of the widest linear layer inside a block, per token."""
        return max(
            int(module.weight.shape[1 if isinstance(module, Conv1D) else 0])
            for module in self.blocks[0].modules()
            if isinstance(module, (nn.Linear, Conv1D))
        )

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
