"""Attention-only GPT-2 models of two layers and two heads, wired by hand: dimensions are one-hot.

TOKEN holds the token, PLACE the position, BEFORE the token before, OUT the answer.
"""

from __future__ import annotations

import torch
import transformers

from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt
from tiny_models import TOKENIZER

N = 8
TOKEN, PLACE, BEFORE, OUT = (slice(start, start + N) for start in (0, 8, 16, 24))
EYE = torch.eye(N, dtype=torch.float64)
SHIFT = torch.diag(torch.ones(N - 1, dtype=torch.float64), -1)  # position i asks for position i - 1


def induction_model(induction_heads: tuple[int, ...] = (0,), strength: float = 1.0) -> HeadModel:
    """L0H0 writes the token before, and some heads of layer 1 look for it by their keys and write what follows.

    The other heads write nothing. A strength well above 1 drowns all else in the final norm: one such head is then as
    good as two.
    """
    config = transformers.GPT2Config(
        vocab_size=N, n_embd=32, n_layer=2, n_head=2, n_positions=N, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    for name, parameter in model.named_parameters():
        parameter.data.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    model.transformer.wte.weight.data[:, TOKEN] = EYE
    model.transformer.wpe.weight.data[:, PLACE] = EYE
    model.lm_head.weight.data[:, OUT] = EYE

    def wire(layer, head, query, key, output, q_map=EYE, size=1.0):
        attention = model.transformer.h[layer].attn
        weight = attention.c_attn.weight.data  # in, (q, k, v), each head 16 wide
        weight[query, 16 * head : 16 * head + 8] = 20 * q_map
        weight[key, 32 + 16 * head : 32 + 16 * head + 8] = 20 * EYE
        weight[TOKEN, 64 + 16 * head : 64 + 16 * head + 8] = EYE
        attention.c_proj.weight.data[16 * head : 16 * head + 8, output] = size * EYE

    wire(0, 0, PLACE, PLACE, BEFORE, SHIFT)
    for head in induction_heads:
        wire(1, head, TOKEN, BEFORE, OUT, size=strength)
    return HeadModel(model, TOKENIZER, model_id="induction-by-hand")


def repeats() -> list[Prompt]:
    """A B C D ... A: the answer is B; in the corrupted one the first A is another token."""
    found = []
    for first, second in ((1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 1)):
        others = [t for t in range(1, N) if t not in (first, second)]
        clean = (0, first, second, *others[:3], first)
        corrupted = (0, others[3], second, *others[:3], first)
        found.append(Prompt("", clean, (6,), (second,), (others[0],), "by_hand", corrupted=corrupted))
    return found
