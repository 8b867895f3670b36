from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from head_atlas.prompts.simple_english import document
from head_atlas.prompts.tokens import TokenPolicy


def train(model, trainer, pre_tokenizer, decoder, **special) -> TokenPolicy:
    rng = random.Random("family tests")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    tokenizer.train_from_iterator((document(rng) for _ in range(4000)), trainer)
    return TokenPolicy(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special))


@pytest.fixture(scope="session")
def byte_level() -> TokenPolicy:
    """Words with their leading space, as GPT-2 and Llama 3 have them, with a BOS."""
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=["<|bos|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return train(models.BPE(), trainer, split, decoders.ByteLevel(), bos_token="<|bos|>")


@pytest.fixture(scope="session")
def metaspace() -> TokenPolicy:
    """Words marked with a low line, as SentencePiece has them; no BOS and no EOS."""
    trainer = trainers.BpeTrainer(vocab_size=2500, special_tokens=["<unk>"], show_progress=False)
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation("isolated")]
    )
    model = models.BPE(unk_token="<unk>")
    return train(model, trainer, split, decoders.Metaspace(prepend_scheme="first"), unk_token="<unk>")


@pytest.fixture(scope="session")
def characters() -> TokenPolicy:
    """Letters only: almost no word is one token."""
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return train(models.BPE(), trainer, split, decoders.ByteLevel())
