"""The training script is seeded, resumes exactly, and refuses to mix recipes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import train_demo_model

TINY = ["--layers", "1", "--heads", "2", "--d-model", "16", "--d-mlp", "16", "--rows", "2", "--warmup", "1"]


def train(folder: Path, name: str, steps: int, *more: str) -> Path:
    out = folder / f"{name}-model"
    train_demo_model.main(
        [*TINY, "--run", str(folder / name), "--out", str(out), "--steps", str(steps), "--decay", "0.01", *more]
    )
    return out


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_where_an_undisturbed_one_does(tmp_path):
    whole = train(tmp_path, "whole", 4)
    train(tmp_path, "stopped", 2)
    resumed = train(tmp_path, "stopped", 4)
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
    assert (whole / "tokenizer.json").read_bytes() == (resumed / "tokenizer.json").read_bytes()
    model = AutoModelForCausalLM.from_pretrained(whole)
    assert torch.isfinite(model(torch.tensor([[0, 5, 6]])).logits).all()
    card = (whole / "README.md").read_text()
    assert "| ioi |" in card
    assert "@" not in card
    with pytest.raises(SystemExit, match=r"--lr was 0\.003 and is now 0\.1"):
        train(tmp_path, "stopped", 6, "--lr", "0.1")


def test_documents_do_not_see_each_other():
    tokenizer = train_demo_model.train_tokenizer(0, 600)
    args = train_demo_model.parser().parse_args([*TINY])
    corpus = train_demo_model.Corpus(tokenizer, args)
    ids, positions, numbers = corpus.batch(0, 2)
    model = train_demo_model.make_model(len(tokenizer), args)
    ends = [int((numbers[row] == numbers[row, 0]).sum()) for row in range(2)]
    first = [ids[row, :end] for row, end in enumerate(ends)]
    assert all(document[0] == 0 for document in first)
    assert (positions[:, 0] == 0).all()
    with torch.no_grad():
        mask = train_demo_model.document_mask(numbers)
        packed = model(input_ids=ids, position_ids=positions, attention_mask=mask).logits
        for row, document in enumerate(first):
            alone = model(input_ids=document[None]).logits[0]
            torch.testing.assert_close(packed[row, : len(document)], alone, atol=1e-5, rtol=1e-4)
