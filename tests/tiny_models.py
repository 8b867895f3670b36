"""Tiny random models of many architectures, made from their configurations: no network, no files."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt

TEXT = "The cat sat on the mat. Harry Potter went home. Everyone knew Harry Potter. The dogs near the park are old."


def make_tokenizer() -> Any:
    """A byte-level BPE of 320 tokens with a BOS token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|bos|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>")


TOKENIZER = make_tokenizer()

_SMALL = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0}
_VOCAB = {"vocab_size": len(TOKENIZER)}
_FALCON = {
    **_VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_WINDOW = {"sliding_window": 4}  # shorter than the prompts, so a missing mask shows

CONFIGS: dict[str, Any] = {
    "gpt2": lambda: transformers.GPT2Config(**_VOCAB, **_GPT2),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**_SMALL),
    "opt": lambda: transformers.OPTConfig(**_SMALL, ffn_dim=48, word_embed_proj_dim=32),
    "llama": lambda: transformers.LlamaConfig(**_GROUPED),
    "mistral": lambda: transformers.MistralConfig(**_GROUPED, **_WINDOW),
    "qwen2": lambda: transformers.Qwen2Config(**_GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**_GROUPED, head_dim=16),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(
        **_GROUPED, head_dim=16, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=24
    ),
    "gemma": lambda: transformers.GemmaConfig(**_GROUPED, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**_GROUPED, head_dim=8, attn_logit_softcapping=2.0, **_WINDOW),
    "gemma3": lambda: transformers.Gemma3TextConfig(**_GROUPED, head_dim=8, **_WINDOW),
    "phi": lambda: transformers.PhiConfig(**_SMALL),
    "phi3": lambda: transformers.Phi3Config(**_GROUPED),
    "olmo2": lambda: transformers.Olmo2Config(**_GROUPED),
    "stablelm": lambda: transformers.StableLmConfig(**_GROUPED),
    "smollm3": lambda: transformers.SmolLM3Config(**_GROUPED, no_rope_layers=[1, 0, 1]),
    "cohere": lambda: transformers.CohereConfig(**_GROUPED),
    "granite": lambda: transformers.GraniteConfig(**_GROUPED, attention_multiplier=0.3, residual_multiplier=0.5),
    "starcoder2": lambda: transformers.Starcoder2Config(**_GROUPED, **_WINDOW),
    "gpt_oss": lambda: transformers.GptOssConfig(
        **_GROUPED, head_dim=8, num_local_experts=2, num_experts_per_tok=1, **_WINDOW
    ),
    "gpt_neo": lambda: transformers.GPTNeoConfig(
        **_VOCAB,
        hidden_size=32,
        num_layers=3,
        attention_types=[[["global", "local", "global"], 1]],
        num_heads=4,
        window_size=4,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "gptj": lambda: transformers.GPTJConfig(**_VOCAB, **_GPT2, rotary_dim=4),
    "falcon": lambda: transformers.FalconConfig(**_FALCON, multi_query=True),
    "falcon_grouped": lambda: transformers.FalconConfig(**_FALCON, new_decoder_architecture=True, num_kv_heads=2),
    "bloom": lambda: transformers.BloomConfig(
        **_VOCAB, hidden_size=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    ),
    "mpt": lambda: transformers.MptConfig(**_VOCAB, d_model=32, n_heads=4, n_layers=3, max_seq_len=64),
}
"""By family. GPT-Neo and those after it ignore the attention function that they are given."""
IGNORING = ("gpt_neo", "gptj", "falcon", "falcon_grouped", "bloom", "mpt")
OWN_KEYS = ("gpt2", "gpt_neox", "opt", "phi", "gpt_neo", "gptj", "bloom", "mpt")
WITHOUT_FLOAT64 = ("gpt_oss", "qwen3_moe")
"""Their experts do not run in float64."""
FLOAT32_SCORES = ("gpt_neo", "gptj")
"""Attention scores are float32 products even in a float64 model."""

FAMILIES = [
    (family, dtype)
    for family in CONFIGS
    for dtype in (torch.float32, torch.float64)
    if dtype == torch.float32 or family not in WITHOUT_FLOAT64
]


def tolerance(family: str, dtype: torch.dtype) -> float:
    """How far two exact ways to one number may lie apart."""
    return 1e-5 if dtype == torch.float32 or family in FLOAT32_SCORES else 1e-10


UNREACHED: dict[str, Any] = {
    # transformers' eager formula adds the position bias twice, so there is no pattern to trust
    "FalconForCausalLM": lambda: transformers.FalconConfig(
        **_FALCON, alibi=True, parallel_attn=False, multi_query=False
    ),
}


def plain_model(config: Any, dtype: torch.dtype = torch.float32, implementation: str | None = None) -> Any:
    """A model as transformers makes it, with weights and biases large enough for every head to matter."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForCausalLM.from_config(
            copy.deepcopy(config), **({} if implementation is None else {"attn_implementation": implementation})
        )
    for _, parameter in sorted(model.named_parameters()):
        parameter.data += 0.15 * torch.randn(parameter.shape, generator=generator)
    return model.to(dtype).eval()


@cache
def head_model(family: str = "llama", dtype: torch.dtype = torch.float32) -> HeadModel:
    """A tiny model of a family, with its heads in reach; the same object each time."""
    return HeadModel(plain_model(CONFIGS[family](), dtype), TOKENIZER, model_id=f"tiny-{family}")


def random_prompts(
    lengths_and_positions: list[tuple[int, tuple[int, ...]]], *, contrasts: bool = True, corrupted: bool = False
) -> list[Prompt]:
    """Prompts of random tokens with random targets, and random corrupted versions if asked for."""
    generator = torch.Generator().manual_seed(1)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, len(TOKENIZER), (n,), generator=generator).tolist())

    return [
        Prompt(
            "",
            ids(length),
            positions,
            ids(len(positions)),
            ids(len(positions)) if contrasts else (),
            corrupted=ids(length) if corrupted else (),
        )
        for length, positions in lengths_and_positions
    ]
