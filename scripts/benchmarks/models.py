"""The models that are measured, as folders that every engine reads: float32 safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from benchmarks.processes import ROOT

DEMO = ROOT / "atlas" / "demo" / "model"


def random_gpt2(folder: Path, *, tiny: bool = False) -> Path:
    """Write GPT-2 small's shapes (or a tiny model's) with random weights, wide enough for every head to matter."""
    sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "vocab_size": 97} if tiny else {}
    torch.manual_seed(0)
    config = GPT2Config(**sizes, initializer_range=0.05, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def demo_model(folder: Path) -> Path:
    """Write the demo model in float32, with its tokenizer: TransformerLens 4 insists on one."""
    AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)
    return folder
