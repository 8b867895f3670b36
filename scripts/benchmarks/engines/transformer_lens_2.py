"""TransformerLens 2: `run_with_hooks` for every head, the weights taken from our model and not folded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from engines.hook_loop import hook_loop
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights, convert_llama_weights
from transformers import AutoModelForCausalLM


def _config(config: Any) -> HookedTransformerConfig:
    shared = {
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "d_model": config.hidden_size,
        "d_head": config.hidden_size // config.num_attention_heads,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "device": "cpu",
    }
    if config.model_type == "gpt2":
        return HookedTransformerConfig(
            **shared,
            act_fn="gelu_new",
            d_mlp=4 * config.hidden_size,
            eps=config.layer_norm_epsilon,
            normalization_type="LN",
            original_architecture="GPT2LMHeadModel",
        )
    return HookedTransformerConfig(
        **shared,
        act_fn="silu",
        d_mlp=config.intermediate_size,
        eps=config.rms_norm_eps,
        normalization_type="RMS",
        original_architecture="LlamaForCausalLM",
        positional_embedding_type="rotary",
        rotary_adjacent_pairs=False,
        rotary_dim=config.hidden_size // config.num_attention_heads,
        final_rms=True,
        gated_mlp=True,
    )


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return the loop on a model."""
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    config = _config(plain.config)
    convert = convert_gpt2_weights if plain.config.model_type == "gpt2" else convert_llama_weights
    model = HookedTransformer(config)
    model.load_and_process_state_dict(
        convert(plain, config),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return hook_loop(model)
