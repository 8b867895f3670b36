"""How many floating-point operations the sweep takes: the written formula that its speed is held against.

Counted are matrix products, two operations for a multiplication and an addition. Per token of a layer: q for the
projections of q, k and v, o for the output projection, m for all other linear layers of the block; attention
itself, causal, takes s = 2 (T + 1) H_m d_head. For P prompts of T tokens read at R positions, H heads removed in each
of L layers of a model with H_m heads, d = d_model and V = d_vocab:

    clean run            P T L (q + s + o + m) + 2 P R d V
    joining, l < L-1     H P T (2 d_head d + m)                  each layer's own heads
    above, l < L-1       l H P T (q + s + o + m)                 the heads of the l layers below
    last layer           (L-1) H P [T (q + s) + R (o + m)] + H P (2 T d_head d + R m)
    unembedding          2 L H P R d V
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from head_atlas.errors import UnsupportedModelError
from head_atlas.models import HeadModel


@dataclass(frozen=True)
class Sizes:
    """What the operations of a dense model depend on; of a model that is not at hand, from its configuration.

    Attributes:
        n_layers: layers.
        n_heads: query heads per layer.
        d_head: of each.
        d_model: width of the residual stream.
        d_vocab: tokens.
        q: operations per token of a layer's projections of q, k and v.
        o: of its output projection.
        m: of its other linear layers.
    """

    n_layers: int
    n_heads: int
    d_head: int
    d_model: int
    d_vocab: int
    q: int
    o: int
    m: int

    def attention(self, n_pos: int) -> float:
        """Operations per token of a layer's causal attention itself, the mean over a prompt's tokens."""
        return 2 * (n_pos + 1) * self.n_heads * self.d_head

    def forward(self, n_pos: int, n_read: int) -> float:
        """Operations of a forward pass of one prompt, unembedded where it is read."""
        layers = self.n_layers * n_pos * (self.q + self.attention(n_pos) + self.o + self.m)
        return float(layers + 2 * n_read * self.d_model * self.d_vocab)


def sizes_of(model: HeadModel) -> Sizes:
    """The sizes of a model.

    Raises:
        UnsupportedModelError: layers of different sizes, or a block without linear layers of its own: experts are not
            linear layers, and how many run depends on the tokens.
    """
    counts = {_per_token(model, layer) for layer in range(model.n_layers)}
    if len(counts) != 1:
        raise UnsupportedModelError("the formula is for layers of one size")
    q, o, m = counts.pop()
    if m == 0:
        raise UnsupportedModelError("the formula is for dense layers, and these have no linear layers but attention's")
    return Sizes(model.n_layers, model.n_heads, model.structure.d_head, model.d_model, model.d_vocab, q, o, m)


def sweep_flops(model: HeadModel | Sizes, n_prompts: int, n_pos: int, n_read: int) -> float:
    """Operations of a sweep over all heads.

    Args:
        model: a dense one, or its sizes.
        n_prompts: of one length.
        n_pos: that length.
        n_read: positions read in each.

    Raises:
        UnsupportedModelError: see `sizes_of`.
    """
    sizes = model if isinstance(model, Sizes) else sizes_of(model)
    n_layers, n_heads, d, v = sizes.n_layers, sizes.n_heads, sizes.d_model, sizes.d_vocab
    q, o, m, s = sizes.q, sizes.o, sizes.m, sizes.attention(n_pos)
    unembed = 2 * n_read * d * v
    change = 2 * sizes.d_head * d
    clean = n_prompts * sizes.forward(n_pos, n_read)
    rows = n_heads * n_prompts
    joining = (n_layers - 1) * rows * n_pos * (change + m)
    above = sum(range(n_layers - 1)) * rows * n_pos * (q + s + o + m)
    last = (n_layers - 1) * rows * (n_pos * (q + s) + n_read * (o + m)) + rows * (n_pos * change + n_read * m)
    return float(clean + joining + above + last + n_layers * rows * unembed)


def _per_token(model: HeadModel, layer: int) -> tuple[int, int, int]:
    """Operations per token of a layer: (q, k and v; output projection; the rest)."""
    structure = model.structure
    inside = set(structure.attentions[layer].modules())
    q = o = m = 0
    for module in structure.blocks[layer].modules():
        if not isinstance(module, (nn.Linear, Conv1D)):
            continue
        size = 2 * module.weight.numel()
        if module is structure.projections[layer]:
            o += size
        elif module in inside:
            q += size
        else:
            m += size
    return q, o, m
