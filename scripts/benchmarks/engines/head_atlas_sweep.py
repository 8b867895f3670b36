"""Head Atlas: `sweep_rows`."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from transformers import AutoModelForCausalLM

from head_atlas.interventions import sweep_rows
from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt


def load_head_model(folder: str) -> HeadModel:
    """Read a model; prompts are ids, so what stands for a tokenizer only has ids of its special tokens."""
    return HeadModel(AutoModelForCausalLM.from_pretrained(folder), SimpleNamespace(bos_token_id=0, eos_token_id=0))


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return the engine on a model."""
    model = load_head_model(folder)

    def run(prompts: list[list[int]], heads: list[list[int]], keep: list[list[int]]) -> np.ndarray:
        asked = [Prompt("", tuple(ids), (len(ids) - 1,), (0,)) for ids in prompts]
        place = {(layer, head): row for row, (layer, head) in enumerate(keep)}
        found = np.full((len(keep), len(prompts), model.d_vocab), np.nan, dtype=np.float32)
        for block in sweep_rows(model, asked, "zero", heads=[(layer, head) for layer, head in heads]):
            for row, head in enumerate(block.heads):
                if (block.layer, head) in place:
                    found[place[block.layer, head], list(block.prompts)] = block.ablated[row, :, 0].numpy()
        return found

    return run
