"""W_Q, W_K, W_V and W_O of every head, in one shape, whatever an architecture calls them and however it fuses them.

What the attention computes with is compared, bit for bit and on probe tokens, with what linear layers return that
read the attention's input: each dimension of each head's query, key and value is one column of one of them. At
position 0 rotary embeddings change nothing, so they do not stand in the way. Where a norm or a clamp does,
there is no such column, and so no such weight: the reason is kept in its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

from head_atlas.errors import NotApplicableError
from head_atlas.models.anatomy import Call, Recorder
from head_atlas.models.attention import recording_calls
from head_atlas.models.intervention import without_interventions
from head_atlas.models.structure import probe_tokens

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from head_atlas.models.head_model import HeadModel

N_PROBES = 8


@dataclass(frozen=True)
class Projection:
    """A head's query, key or value as a linear map of the attention's input.

    Attributes:
        weight: [head, d_model, d_head]; heads that share keys and values hold the same.
        bias: [head, d_head], zeros where there is none.
    """

    weight: Float[Tensor, "head d_model d_head"]
    bias: Float[Tensor, "head d_head"]


@dataclass(frozen=True)
class Place:
    """Where a projection's columns are.

    Attributes:
        modules: linear layers that read the attention's input.
        columns: [head, d_head], counted through the outputs of all of them, one after the other.
    """

    modules: tuple[nn.Module, ...]
    columns: Int[Tensor, "head d_head"]

    def projection(self) -> Projection:
        """Read the weights, in the model's type."""
        weight = torch.cat([_weight(module) for module in self.modules], 1)
        biases = [_bias(module) for module in self.modules]
        return Projection(weight[:, self.columns].permute(1, 0, 2), torch.cat(biases)[self.columns])


@dataclass(frozen=True)
class LayerPlaces:
    """Where a layer's projections are, or why there are none.

    Attributes:
        query: its place, or the reason why there is none.
        key: likewise.
        value: likewise.
        rotates: queries or keys change with their position after their projection (rotary embeddings); False
            where they have no place.
    """

    query: Place | str
    key: Place | str
    value: Place | str
    rotates: bool


@torch.no_grad()
def find_places(model: HeadModel) -> tuple[LayerPlaces, ...]:
    """Find the columns of every layer's queries, keys and values."""
    tokens = probe_tokens(model.d_vocab, n_rows=N_PROBES, n_pos=2).to(model.device)
    attentions = model.structure.attentions
    watched = [module for attention in attentions for module in attention.modules()]
    with without_interventions(), Recorder(watched) as calls:
        if model.structure.through_interface:
            with recording_calls() as made:
                model.logits(tokens)
            seen = [(call.query, call.key, call.value) for call in made]
        else:
            with _Products(N_PROBES) as products:
                model.logits(tokens)
            seen = products.operands
    if len(seen) != len(attentions):
        name = type(model.model).__name__
        reason = f"{name} computes {len(seen)} products of queries and keys in {len(attentions)} layers"
        return tuple(LayerPlaces(reason, reason, reason, False) for _ in attentions)
    return tuple(_layer_places(model, attention, calls, *one) for attention, one in zip(attentions, seen, strict=True))


def _layer_places(
    model: HeadModel, attention: nn.Module, calls: dict[nn.Module, Call], query: Tensor, key: Tensor, value: Tensor
) -> LayerPlaces:
    read = calls[attention].read
    modules = tuple(
        module
        for module in attention.modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module in calls and _same(calls[module].read, read)
    )
    if not modules:
        reason = f"no linear layer of {type(attention).__name__} reads its input"
        return LayerPlaces(reason, reason, reason, False)
    outputs = torch.cat([calls[module].returned.reshape(N_PROBES, 2, -1) for module in modules], -1)
    # Some architectures rotate in float32 whatever the model's type: then the numbers are rounded to it.
    forms = [form * f for f in _factors(model) for form in (outputs, outputs.float().to(outputs.dtype))]
    found: dict[str, Place | str] = {}
    rotates = False
    for name, received in (("queries", query), ("keys", key), ("values", value)):
        form = columns = None
        for form in forms if name != "values" else forms[:1]:
            columns = _columns(form, received)
            if columns is not None:
                break
        if form is None or columns is None:
            found[name] = f"{name} are no linear function of the attention's input{_between(attention, calls)}"
            continue
        if name != "values":
            later = form[:, 1].to(received.dtype)[:, columns]
            rotates |= not torch.equal(later, received[:, :, 1])
        group = torch.arange(model.n_heads, device=columns.device) * len(columns) // model.n_heads
        found[name] = Place(modules, columns[group])
    return LayerPlaces(found["queries"], found["keys"], found["values"], rotates)


def _columns(outputs: Float[Tensor, "row pos column"], received: Float[Tensor, "row head pos d"]) -> Tensor | None:
    """The column of each head and dimension at position 0, equal bit for bit; None where one has none."""
    known: dict[bytes, int] = {}
    for index, column in enumerate(_exact(outputs[:, 0].to(received.dtype).T)):
        known.setdefault(column.tobytes(), index)
    wanted = _exact(received[:, :, 0].permute(1, 2, 0))
    found = [[known.get(dim.tobytes(), -1) for dim in head] for head in wanted]
    columns = torch.tensor(found, device=outputs.device)
    return None if bool((columns < 0).any()) else columns


def _exact(values: Tensor) -> np.ndarray:
    """The same numbers in a type that numpy has."""
    wide = values if values.dtype == torch.float64 else values.float()
    return wide.contiguous().cpu().numpy()


def _factors(model: HeadModel) -> list[float]:
    """What architectures multiply queries and keys by on the way to their product; the weights are meant without it."""
    scalings = {getattr(module, "attention_scaling", None) for module in model.model.modules()}
    return [1.0, model.d_head**-0.5, *(float(s) for s in scalings if isinstance(s, (int, float)) and s != 1)]


def _between(attention: nn.Module, calls: dict[nn.Module, Call]) -> str:
    """Name the norms inside an attention module, which are what stands between as a rule."""
    names = {
        type(module).__name__
        for module in attention.modules()
        if module in calls and [p.ndim for p in module.parameters(recurse=False)] in ([1], [1, 1])
    }
    return f": {' and '.join(sorted(names))} stands between" if names else ""


class _Products(TorchFunctionMode):
    """Keeps the operands of each layer's two products, where attention does not go through our function.

    Args:
        n_rows: of the batch; every row has two positions.
    """

    def __init__(self, n_rows: int) -> None:
        super().__init__()
        self._n_rows = n_rows
        self._half: tuple[Tensor, Tensor] | None = None
        self.operands: list[tuple[Tensor, Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("matmul", "__matmul__", "bmm", "baddbmm"):
            given = [*args, *kwargs.values()]
            tensors = [a for a in given if isinstance(a, torch.Tensor)][-2:]
            if len(tensors) == 2 and all(t.ndim >= 3 for t in tensors):
                self._keep(*tensors)
        return func(*args, **kwargs)

    def _keep(self, left: Tensor, right: Tensor) -> None:
        if self._half is None:  # q k^T
            self._half = self._by_head(left), self._by_head(right.transpose(-1, -2))
        else:  # pattern v
            self.operands.append((*self._half, self._by_head(right)))
            self._half = None

    def _by_head(self, operand: Tensor) -> Tensor:
        return operand.detach().clone().reshape(self._n_rows, -1, *operand.shape[-2:])


def _same(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and torch.equal(one.reshape(other.shape), other)


def _weight(module: Any) -> Float[Tensor, "d_model column"]:
    return module.weight if isinstance(module, Conv1D) else module.weight.T


def _bias(module: Any) -> Float[Tensor, " column"]:
    weight = _weight(module)
    return weight.new_zeros(weight.shape[1]) if module.bias is None else module.bias


@dataclass(frozen=True)
class FoldedWeights:
    """Weights of a layer's heads between residual stream and residual stream, float64.

    The gain of the norm in front is folded into what reads (and its centring, where it centres); the gain of a
    norm behind the attention and the layer's multiplier into what writes; writes are centred where the final norm
    centres, as nothing can read their mean. Sigmas and biases are left out.

    Attributes:
        query: [head, d_model, d_head], or the reason why there is none.
        key: likewise.
        value: likewise.
        output: [head, d_head, d_model].
    """

    query: Float[Tensor, "head d_model d_head"] | str
    key: Float[Tensor, "head d_model d_head"] | str
    value: Float[Tensor, "head d_model d_head"] | str
    output: Float[Tensor, "head d_head d_model"]


@torch.no_grad()
def folded_weights(model: HeadModel, layer: int) -> FoldedWeights:
    """Read a layer's weights with its norms folded in.

    Raises:
        NotApplicableError: the norms cannot be told; the message says why.
    """
    anatomy = model.anatomy
    parts, places = anatomy.layers[layer], model.weight_places[layer]

    def reads(place: Place | str) -> Tensor | str:
        if isinstance(place, str):
            return place
        weight = place.projection().weight.double()
        return weight if parts.pre_norm is None else parts.pre_norm.folded(weight)

    output = model.output_weights(layer)[0].double() * parts.attention_scale
    if parts.post_norm is not None:
        output = parts.post_norm.centre(output) * parts.post_norm.gain
    return FoldedWeights(reads(places.query), reads(places.key), reads(places.value), anatomy.final_norm.centre(output))


def projection(place: Place | str) -> Projection:
    """Read a projection's weights.

    Raises:
        NotApplicableError: there is none; the message is the reason.
    """
    if isinstance(place, str):
        raise NotApplicableError(place)
    return place.projection()
