"""A tiny random model of a real architecture, with a tokenizer that knows the families' words."""

from __future__ import annotations

import random

import pytest
import torch
from small_build import OPTIONS, silent
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from head_atlas.build import build_atlas
from head_atlas.models import HeadModel, load_model
from head_atlas.prompts.simple_english import document
from head_atlas.store import open_atlas


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    rng = random.Random("build tests")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<|bos|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document(rng) for _ in range(3000)), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|bos|>")
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=1500,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=160,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder) -> HeadModel:
    return load_model(model_folder, device="cpu")


@pytest.fixture(scope="session")
def path(model, tmp_path_factory):
    """A whole small build."""
    return build_atlas(model, tmp_path_factory.mktemp("build") / "atlas.h5", OPTIONS, silent)


@pytest.fixture(scope="session")
def atlas(path):
    with open_atlas(path) as atlas:
        yield atlas
