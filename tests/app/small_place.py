"""A folder like `atlas/demo`: a tiny random model with its tokenizer, and an atlas of its shape."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))

N_LAYERS, N_HEADS, D_HEAD = 4, 6, 32
TEXT = (
    "Harry Potter went home. Everyone knew Harry Potter. The cat sat on the mat. The capital of France is Paris. "
    "When Mary and John went to the store, John gave a book to Mary. The dogs near the park are here. "
    "apple river stone cloud tiger lamp paper bread horse green table winter ship coin bell grass hand north music wall"
)


def make_model(folder: Path) -> None:
    """Save a random Llama with a byte-level tokenizer in which the words of `TEXT` are tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|bos|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, " " + TEXT] * 20, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=N_HEADS * D_HEAD,
        intermediate_size=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        max_position_embeddings=160,
        bos_token_id=0,
        eos_token_id=None,
        # Wide enough that removing a head moves the prediction.
        initializer_range=0.12,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def make_atlas(path: Path, fingerprint: str = "") -> None:
    """Write an atlas of invented numbers through the real writer."""
    from synthetic_atlas import synthetic_contents

    from head_atlas.store import write_atlas

    contents = synthetic_contents(N_LAYERS, N_HEADS, n_prompts=6)
    provenance = {**contents.provenance, "model_fingerprint": fingerprint}
    write_atlas(path, dataclasses.replace(contents, provenance=provenance))


def make_place(folder: Path, *, model: bool = True) -> Path:
    """Make the folder, with or without the model, and return it."""
    from head_atlas.models.sources import fingerprint

    folder.mkdir(parents=True, exist_ok=True)
    if model:
        make_model(folder / "model")
    make_atlas(folder / "atlas.h5", fingerprint(folder / "model") if model else "")
    return folder
