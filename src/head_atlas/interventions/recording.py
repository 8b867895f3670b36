"""Runs kept in full, so that parts of one can be put into another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import PromptError
from head_atlas.models import HeadModel
from head_atlas.models.intervention import AttentionInputs
from head_atlas.models.readers import ReadPositions, Trace

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class RecordedRun:
    """All that can be patched from a run, or into it; every tensor is [prompt, pos, ...], by layer.

    Attributes:
        tokens: what was run.
        inputs: the residual stream that each layer reads.
        z: of each head.
        attention_outputs: z W_O + b_O.
        mlp_outputs: empty unless recorded.
        q: [prompt, head, pos, d]; like k and v empty unless recorded.
        k: [prompt, kv_head, pos, d].
        v: [prompt, kv_head, pos, d_head].
        logits: at read positions, [prompt, read, d_vocab].
    """

    tokens: Int[Tensor, "prompt pos"]
    inputs: dict[int, Tensor]
    z: dict[int, Tensor]
    attention_outputs: dict[int, Tensor]
    logits: Float[Tensor, "prompt read d_vocab"]
    mlp_outputs: dict[int, Tensor] = field(default_factory=dict)
    q: dict[int, Tensor] = field(default_factory=dict)
    k: dict[int, Tensor] = field(default_factory=dict)
    v: dict[int, Tensor] = field(default_factory=dict)

    @property
    def n_prompts(self) -> int:
        """Rows of the run."""
        return len(self.tokens)

    def row(self, index: int) -> RecordedRun:
        """One prompt of the run, as a run of one row."""

        def pick(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
            return {layer: tensor[index : index + 1] for layer, tensor in tensors.items()}

        return RecordedRun(
            self.tokens[index : index + 1],
            pick(self.inputs),
            pick(self.z),
            pick(self.attention_outputs),
            self.logits[index : index + 1],
            pick(self.mlp_outputs),
            pick(self.q),
            pick(self.k),
            pick(self.v),
        )


class _Recorder(Trace):
    def __init__(self, mlps: bool, attention_inputs: bool) -> None:
        super().__init__()
        self._mlps, self.wants_attention = mlps, attention_inputs
        self.mlp_outputs: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}
        self.k: dict[int, Tensor] = {}
        self.v: dict[int, Tensor] = {}

    def on_attention(self, layer: int, inputs: AttentionInputs, z: Tensor) -> Tensor:
        self.q[layer], self.k[layer], self.v[layer] = inputs.q, inputs.k, inputs.v
        return z

    def on_mlp_output(self, layer: int, output: Tensor) -> None:
        if self._mlps:
            # some MLPs return their rows flattened, and Falcon adds to the output in place
            self.mlp_outputs[layer] = output.reshape(self.inputs[layer].shape).clone()


@torch.no_grad()
def record(
    model: HeadModel,
    tokens: Int[Tensor, "prompt pos"],
    read: Int[Tensor, "prompt read"],
    *,
    mlps: bool = False,
    attention_inputs: bool = False,
    run: Callable[[], Tensor] | None = None,
) -> RecordedRun:
    """Run some prompts of one length and keep what patches need, under the active interventions.

    Args:
        model: to run.
        tokens: of the prompts.
        read: positions whose logits are kept.
        mlps: keep their outputs too.
        attention_inputs: keep q, k and v too.
        run: makes the logits at read positions in place of a plain run of the tokens.

    Raises:
        UnsupportedModelError: q, k and v cannot be reached in this architecture.
        NotApplicableError: nor can what its MLPs write.
    """
    if mlps:
        _ = model.anatomy  # found at first use: from then on MLPs tell what they write
    if attention_inputs:
        model.require_attention_inputs()
    recorder = _Recorder(mlps, attention_inputs)
    with model.intervening(recorder):
        if run is None:
            logits = model.logits(tokens, read)
        else:
            with model.intervening(ReadPositions(read)):
                logits = run()
    return RecordedRun(
        tokens,
        recorder.inputs,
        recorder.z,
        recorder.attention_outputs,
        logits,
        recorder.mlp_outputs,
        recorder.q,
        recorder.k,
        recorder.v,
    )


def aligned(model: HeadModel, clean: Sequence[int], corrupted: Sequence[int]) -> int:
    """Check that two prompts can be patched into each other, and return the first position where they differ.

    Raises:
        PromptError: they have different lengths (the message names both, and where they first differ), or are equal.
    """
    differ = (i for i, (one, other) in enumerate(zip(clean, corrupted, strict=False)) if one != other)
    first = next(differ, min(len(clean), len(corrupted)))
    if len(clean) != len(corrupted):
        pieces = [model.strings(ids[first : first + 1]) for ids in (clean, corrupted)]
        found = [repr(piece[0]) if piece else "the end" for piece in pieces]
        raise PromptError(
            f"patching needs prompts of equal length: the clean one has {len(clean)} tokens, the corrupted one "
            f"{len(corrupted)}; they first differ at position {first}, {found[0]} against {found[1]}"
        )
    if first == len(clean):
        raise PromptError("the clean and the corrupted prompt are the same: there is nothing to patch")
    return first
