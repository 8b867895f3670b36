"""The logit lens: what the model would say if it stopped after a layer.

    lens(l, i) = LN_f(x_l[i]) W_U        x_l the residual stream after l layers, at position i

by the architecture's own final norm, unembedding and soft-cap; after the last layer it is the model's output.

Source: nostalgebraist 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from head_atlas.errors import PromptError
from head_atlas.interventions.packing import budget_for
from head_atlas.measures.effects import as_prompts
from head_atlas.measures.metrics import Reading, kl
from head_atlas.models import HeadModel
from head_atlas.models.readers import StreamReader
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

CAVEAT = (
    "Early layers are unreliable: their residual stream was not made to be read by the final norm and the unembedding, "
    "so an answer that is not there yet and one written in another basis look the same."
)


@dataclass(frozen=True)
class LogitLens:
    """The lens at every layer and position.

    Attributes:
        log_probs: of the target, nats, axes (layer, position): index l is after l layers, 0 the embedding.
        ranks: of the target, 1 the most likely token.
        kl: from the model's output to the lens, sum of p_final (log p_final - log p_lens), nats, >= 0 up to rounding.
        top_tokens: ids of the likeliest tokens, axes (layer, position, rank).
        top_log_probs: theirs.
        target: id.
        tokens: ids of the prompt, BOS first.
        strings: each of them.
        caveat: what early layers cannot say.
    """

    log_probs: NamedArray
    ranks: NamedArray
    kl: NamedArray
    top_tokens: NamedArray
    top_log_probs: NamedArray
    target: int
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    caveat: str = CAVEAT


@torch.no_grad()
def logit_lens(model: HeadModel, prompt: str | Prompt, target: str | int | None = None, *, n_top: int = 5) -> LogitLens:
    """Read every layer's residual stream as if it were the last one's.

    Args:
        model: to read.
        prompt: a text; or a `Prompt`, whose last target is looked for.
        target: of a text: an id, or a text that is one token; the model's top token after the prompt by default.
        n_top: likeliest tokens kept, at most the vocabulary.

    Raises:
        PromptError: an empty or too long prompt, or a target that is not one token.
    """
    if n_top < 1:
        raise PromptError(f"at least one top token is needed, found {n_top}")
    (one,) = as_prompts(model, prompt, target)
    tokens = model.rows([one.tokens])
    n_pos, n_top = len(one), min(n_top, model.d_vocab)
    reader = StreamReader()
    with model.intervening(reader):
        final = model.logits(tokens)
    course = model.layerwise(n_pos)
    stream = torch.cat(reader.streams)
    wanted = torch.tensor(one.targets[-1], device=model.device)
    nothing = torch.tensor(-1, device=model.device)
    output = Reading.of(final, wanted, nothing)
    found: dict[str, list[torch.Tensor]] = {name: [] for name in ("log_probs", "ranks", "kl", "tokens", "top")}
    for some in stream.split(max(1, budget_for(model).logits // (n_pos * model.d_vocab))):
        lens = Reading.of(course.logits(some), wanted, nothing)
        top = lens.log_probs.topk(n_top)
        found["log_probs"].append(lens.target_log_prob)
        found["ranks"].append((2**lens.log2_rank).round().long())
        found["kl"].append(kl(output, lens))
        found["tokens"].append(top.indices)
        found["top"].append(top.values)
    dims = ("layer", "position")

    def named(name: str, axes: tuple[str, ...] = dims) -> NamedArray:
        return NamedArray(np.asarray(torch.cat(found[name]).cpu()), axes)

    return LogitLens(
        log_probs=named("log_probs"),
        ranks=named("ranks"),
        kl=named("kl"),
        top_tokens=named("tokens", (*dims, "rank")),
        top_log_probs=named("top", (*dims, "rank")),
        target=one.targets[-1],
        tokens=one.tokens,
        strings=tuple(model.strings(one.tokens)),
    )
