"""How a decoder layer writes into the residual stream, and how the stream is read: found out, then verified.

    x_{l+1} = x_l + m_a A(z W_O + b_O) + m_m mlp_l          A: nothing, or a norm behind the attention
    logits  = s (norm_f(x_L) W_U + b_U)                     or a soft-cap of it

One run on probe tokens keeps what every module reads and returns, and a layer is taken only if some module's
output, beside its attention's, adds up to the layer's output. Parallel and sequential layers, norms behind the
attention or the MLP and multipliers are all covered; what is not (a norm on the residual stream itself, say) is
refused, with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from head_atlas.errors import NotApplicableError
from head_atlas.models.intervention import without_interventions
from head_atlas.models.norms import Norm, recognise
from head_atlas.models.readers import Trace
from head_atlas.models.structure import probe_tokens
from head_atlas.models.wrapping import tell_mlp_output, tell_neurons

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from head_atlas.models.head_model import HeadModel

_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 2e-2}
"""Of what is rebuilt, relative to its spread. Many norms compute in float32 even in a float64 model."""

_LEAST_SCALE = 1e-3
"""Of a multiplier."""


@dataclass(frozen=True)
class LayerAnatomy:
    """One decoder layer.

    Attributes:
        pre_norm: between the residual stream and the attention; None where the attention reads the stream itself.
        post_norm: between the attention's output and the stream; None in most architectures.
        attention_scale: what the attention's output is multiplied by.
        mlp_scale: likewise.
        neurons: number of hidden units of the MLP, the input of its down projection.
        no_neurons: why there are none to read, or "".
    """

    pre_norm: Norm | None
    post_norm: Norm | None
    attention_scale: float
    mlp_scale: float
    neurons: int
    no_neurons: str


@dataclass(frozen=True)
class Anatomy:
    """All layers, and what comes behind the last.

    Attributes:
        layers: by layer.
        final_norm: in front of the unembedding.
        unembedding: W_U, [d_vocab, d_model], as the model holds it.
        unembedding_bias: [d_vocab], or None.
        logit_scale: what the unembedding's output is multiplied by.
        soft_cap: logits are this number times the tanh of their share of it; None in most architectures.
    """

    layers: tuple[LayerAnatomy, ...]
    final_norm: Norm
    unembedding: Float[Tensor, "d_vocab d_model"]
    unembedding_bias: Float[Tensor, " d_vocab"] | None
    logit_scale: float
    soft_cap: float | None


@dataclass(frozen=True)
class Call:
    """What a module read and returned."""

    read: Tensor
    returned: Tensor


class Recorder:
    """Keeps what modules read and return in this thread; of a module called twice, the last call.

    Args:
        modules: those that are watched.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules, self._thread = list(modules), threading.get_ident()
        self.calls: dict[nn.Module, Call] = {}

    def _keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        read = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
        returned = output[0] if isinstance(output, tuple) and output else output
        if read is not None and isinstance(returned, torch.Tensor):
            # copies: some architectures add to these in place afterwards
            self.calls[module] = Call(read.detach().clone(), returned.detach().clone())

    def __enter__(self) -> dict[nn.Module, Call]:
        self._handles = [m.register_forward_hook(self._keep, with_kwargs=True) for m in self._modules]
        return self.calls

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


class _Shaken:
    """Lets linear layers that write nothing but zeros (pruned, or not yet trained) write random numbers in this thread.

    Otherwise nothing would tell where their output goes.

    Args:
        modules: linear layers.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules, self._thread = list(modules), threading.get_ident()
        self._generator = torch.Generator().manual_seed(0)

    def _shake(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:  # noqa: ARG002
        if threading.get_ident() != self._thread or bool(output.any()):
            return None
        return torch.randn(output.shape, generator=self._generator).to(output)

    def __enter__(self) -> None:
        self._handles = [module.register_forward_hook(self._shake) for module in self._modules]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


@torch.no_grad()
def find_anatomy(model: HeadModel) -> Anatomy:
    """Find out how a model's layers write, and let their MLPs tell interventions what they do.

    Args:
        model: loaded, its heads found.

    Raises:
        NotApplicableError: it does not have the form above; the message says where.
    """
    tokens = probe_tokens(model.d_vocab, n_rows=2, n_pos=min(6, model.max_length)).to(model.device)
    trace = Trace()
    blocks = model.structure.blocks
    writers = [m for block in blocks for m in block.modules() if isinstance(m, (nn.Linear, Conv1D))]
    with (
        without_interventions(),
        _Shaken(writers),
        Recorder(model.model.modules()) as calls,
        model.intervening(trace),
    ):
        logits = model.logits(tokens)
    tolerance = _TOLERANCE[model.dtype]
    found = [_layer(model, layer, calls, trace, calls[b].returned, tolerance) for layer, b in enumerate(blocks)]
    final, scale, cap = _head(model, calls, calls[blocks[-1]].returned, logits, tolerance)
    for layer, parts in enumerate(found):
        tell_mlp_output(parts.mlp, model, layer)
        if parts.down is not None:
            tell_neurons(parts.down, model, layer)
    unembedding: Any = model.structure.unembedding
    return Anatomy(
        tuple(parts.anatomy for parts in found),
        final,
        unembedding.weight,
        getattr(unembedding, "bias", None),
        scale,
        cap,
    )


@dataclass(frozen=True)
class _Found:
    anatomy: LayerAnatomy
    mlp: nn.Module
    down: nn.Module | None


def _layer(
    model: HeadModel, layer: int, calls: dict[nn.Module, Call], trace: Trace, after: Tensor, tolerance: float
) -> _Found:
    block, attention = model.structure.blocks[layer], model.structure.attentions[layer]
    writer = attention if model.structure.residual is None else model.structure.projections[layer]
    before, written = trace.inputs[layer], calls[writer].returned
    inside = set(attention.modules())
    outside = {m: calls[m] for m in block.modules() if m not in inside and m is not block and m in calls}
    same = {m: c for m, c in outside.items() if c.returned.numel() == before.numel()}

    post = [(m, c) for m, c in same.items() if _equal(c.read, written) and not _equal(c.returned, written)]
    options: list[tuple[nn.Module | None, Tensor]] = [(None, written), *((m, c.returned) for m, c in post)]
    for normed, attended in options:
        for mlp, call in same.items():
            scales = _scales(model, before, after, attended, call.returned, tolerance)
            if scales is None or mlp is normed:
                continue
            post_norm = None if normed is None else recognise(normed, written, attended, tolerance)
            if normed is not None and post_norm is None:
                continue
            down = _down_projection(outside, call)
            n_neurons = 0 if down is None else int(outside[down].read.shape[-1])
            reason = "" if down else f"layer {layer}: no one linear layer writes the MLP's output (mixture of experts?)"
            pre_norm = _pre_norm(same, before, calls[attention].read, layer, tolerance)
            return _Found(LayerAnatomy(pre_norm, post_norm, *scales, n_neurons, reason), mlp, down)
    raise NotApplicableError(
        f"{type(model.model).__name__}, layer {layer}: the residual stream is not its input plus the attention's "
        "output plus that of one more module, so it cannot be decomposed"
    )


def _pre_norm(same: dict[nn.Module, Call], before: Tensor, read: Tensor, layer: int, tolerance: float) -> Norm | None:
    if _equal(read, before):
        return None
    for module, call in same.items():
        if _equal(call.read, before) and _equal(call.returned, read):
            norm = recognise(module, before, read, tolerance)
            if norm is not None:
                return norm
    raise NotApplicableError(f"layer {layer}: no LayerNorm or RMSNorm makes the attention's input of the layer's")


def _scales(
    model: HeadModel, before: Tensor, after: Tensor, attended: Tensor, mlp: Tensor, tolerance: float
) -> tuple[float, float] | None:
    """Multipliers of two writes that make one stream of another, or None: least squares, then the configuration's.

    Positions are weighed by their size, and sums of large numbers allowed their rounding: many models have a few
    activations a thousand times as large as the rest.
    """
    width = before.shape[-1]
    streams = [stream.double().reshape(-1, width) for stream in (before, after, attended, mlp)]
    rounding = 4 * torch.finfo(model.dtype).eps * torch.stack(streams).abs().sum(0)
    size = streams[1].square().mean(-1, keepdim=True).sqrt().clamp(min=1e-30)
    change, rounding = (streams[1] - streams[0]) / size, rounding / size
    writes = torch.stack([(write / size).flatten() for write in streams[2:]], 1)
    lengths = writes.norm(dim=0).clamp(min=1e-30)
    unit = writes / lengths
    gram, target = unit.T @ unit, unit.T @ change.flatten()
    if float(torch.linalg.det(gram).abs()) < 1e-9:  # one is the other, or nothing
        return None
    scales = [_configured(model, float(value), tolerance) for value in torch.linalg.solve(gram, target) / lengths]
    if min(map(abs, scales)) < _LEAST_SCALE:  # not written at all: some other module fits by chance of zeros
        return None
    missing = (writes @ torch.tensor(scales).to(writes)).view(change.shape) - change
    if bool((missing.abs() > tolerance * change.std() + rounding).any()):
        return None
    return scales[0], scales[1]


def _configured(model: HeadModel, value: float, tolerance: float) -> float:
    """The number that the least squares mean: 1, or one that the configuration names, or its inverse."""
    numbers = [float(v) for v in vars(model.model.config.get_text_config()).values() if isinstance(v, (int, float))]
    known = [1.0, *(v for v in numbers if v), *(1 / v for v in numbers if v)]
    return min((v for v in known if abs(v - value) <= tolerance * abs(v)), key=lambda v: abs(v - value), default=value)


def _down_projection(outside: dict[nn.Module, Call], mlp: Call) -> nn.Module | None:
    """The one linear layer that wrote the MLP's output, or what a norm made it of."""
    writers = [
        module
        for module, call in outside.items()
        if isinstance(module, (nn.Linear, Conv1D))
        and (_equal(call.returned, mlp.returned) or _equal(call.returned, mlp.read))
        and call.read.shape[:-1].numel() == call.returned.shape[:-1].numel()
    ]
    return writers[0] if len(writers) == 1 else None


def _head(
    model: HeadModel, calls: dict[nn.Module, Call], last: Tensor, logits: Tensor, tolerance: float
) -> tuple[Norm, float, float | None]:
    """The final norm, and how logits are made of what the unembedding returns."""
    name = type(model.model).__name__
    unembedded = calls[model.structure.unembedding]
    inside = {m for block in model.structure.blocks for m in block.modules()}
    final = None
    for module, call in calls.items():
        if module not in inside and _equal(call.read, last) and _equal(call.returned, unembedded.read):
            final = final or recognise(module, last, unembedded.read, tolerance)
    if final is None:
        raise NotApplicableError(f"{name}: no LayerNorm or RMSNorm stands between the last layer and the unembedding")
    raw, out = unembedded.returned.double(), logits.double()
    scale = float((raw * out).sum() / raw.square().sum())
    scale = _configured(model, scale, tolerance)
    if _close(raw * scale, out, tolerance):
        return final, scale, None
    cap = getattr(model.model.config.get_text_config(), "final_logit_softcapping", None)
    if cap and _close((raw / cap).tanh() * cap, out, tolerance):
        return final, 1.0, float(cap)
    raise NotApplicableError(f"{name}: the logits are neither proportional to the unembedding's output nor a soft-cap")


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return bool(((one - other).abs() <= tolerance * (other.abs() + other.std())).all())


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and torch.equal(one.reshape(other.shape), other)
