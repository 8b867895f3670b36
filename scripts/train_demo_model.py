#!/usr/bin/env python3
"""Train the demo model from nothing but this repository.

A small Llama learns the world of `head_atlas.prompts.simple_english` plus rows of repeated random tokens. Each
batch depends on the seed and the step alone, so a run that was stopped resumes where it was:

    python scripts/train_demo_model.py --out atlas/demo/model --run runs/demo
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parent))
from demo_model_card import report, write_card
from head_atlas.prompts.simple_english import document

BOS = "<|bos|>"
ROW = 256  # tokens a row; also the model's maximum length
IGNORE = -100


def train_tokenizer(seed: int, vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE on four megabytes of generated text: any prompt works, common words are one token."""
    rng = random.Random(f"tokenizer-{seed}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document(rng) for _ in range(20_000)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS, model_max_length=ROW)


def make_model(vocabulary: int, args: argparse.Namespace) -> LlamaForCausalLM:
    """A Llama with tied embeddings and as many key heads as query heads."""
    torch.manual_seed(args.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=args.d_model,
            intermediate_size=args.d_mlp,
            num_hidden_layers=args.layers,
            num_attention_heads=args.heads,
            num_key_value_heads=args.heads,
            max_position_embeddings=ROW,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            attn_implementation="sdpa",
        )
    )


class Corpus:
    """Batches of packed documents; every document begins with BOS and sees only itself."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace) -> None:
        self.tokenizer, self.seed = tokenizer, args.seed
        self.repeat_share, self.first_steps, self.reversals_from = (
            args.repeat_share,
            args.first_steps,
            args.reversals_from,
        )
        self.n_tokens = len(tokenizer)
        self.mark = tokenizer(" ;")["input_ids"][0]

    def _random(self, rng: random.Random, longest: int, shares: tuple[float, float, float]) -> list[int]:
        """Random tokens with something to find: echoes, repetitions or reversals, in these shares."""
        length = round(16 * (longest / 16) ** rng.random())
        (kind,) = rng.choices((self._echoes, self._repetition, self._reversals), shares)
        ids = [0]
        while len(ids) < length:
            kind(rng, ids, length)
        return ids[:length]

    def _repetition(self, rng: random.Random, ids: list[int], length: int) -> None:
        """A block that is repeated to the end, at times with a random gap between copies."""
        block = rng.sample(range(1, self.n_tokens), rng.randint(3, min(32, length // 2)))
        with_gaps = rng.random() < 0.25
        while len(ids) < length:
            ids += block
            if with_gaps:
                ids += rng.sample(range(1, self.n_tokens), rng.randint(1, 8))

    def _echoes(self, rng: random.Random, ids: list[int], length: int) -> None:  # noqa: ARG002
        """One "a b a ;" more."""
        one, other = rng.sample(range(1, self.n_tokens), 2)
        ids += [one, other, one, self.mark]

    def _reversals(self, rng: random.Random, ids: list[int], length: int) -> None:  # noqa: ARG002
        """One pair more, "a b ;": of new tokens, or one that was there before, turned around."""
        pairs = [(ids[i], ids[i + 1]) for i in range(1, len(ids), 3)]
        if pairs and rng.random() < 0.5:
            one, other = rng.choice(pairs)
            ids += [other, one, self.mark]
        else:
            seen = {token for pair in pairs for token in pair}
            ids += [*rng.sample(sorted(set(range(1, self.n_tokens)) - {self.mark, *seen}), 2), self.mark]

    def _documents(self, rng: random.Random) -> Iterator[list[int]]:
        while True:
            texts = [document(rng) for _ in range(32)]
            for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]:
                yield [0, *ids]

    def batch(self, step: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Batch of a step: ids, positions and document numbers, each [rows, ROW]."""
        rng = random.Random(f"{self.seed}-{step}")
        documents = self._documents(rng)
        ids, positions, numbers = [], [], []
        # Echoes and short repetitions first. From full rows of repetitions nothing was gained in four million tokens;
        # from short ones the model learned to copy from anywhere, but no head looked at the previous token, on which
        # induction rests. An echo can be foreseen in no other way; with half of them, induction came in one million.
        # Reversals come last: to know what stood before "b", a head has to find the earlier copy of "b" itself.
        if step < self.first_steps:
            share, shares = 0.8, (0.5, 0.5, 0.0)
        elif step < self.reversals_from:
            share, shares = self.repeat_share, (0.15, 0.85, 0.0)
        else:
            share, shares = self.repeat_share, (0.15, 0.45, 0.4)
        longest = round(min(ROW, 32 * 2 ** (max(0, step - 200) / 150)))
        for _ in range(rows):
            row: list[int] = []
            position: list[int] = []
            number: list[int] = []
            repeats = rng.random() < share
            while len(row) < ROW:
                new = self._random(rng, longest, shares) if repeats else next(documents)
                row += new
                position += range(len(new))
                number += [len(number)] * len(new)
            ids.append(row[:ROW])
            positions.append(position[:ROW])
            numbers.append(number[:ROW])
        return torch.tensor(ids), torch.tensor(positions), torch.tensor(numbers)


def document_mask(numbers: Tensor) -> Tensor:
    """Which keys each query sees, [rows, 1, ROW, ROW]: earlier ones of its own document, and itself."""
    same = numbers[:, :, None] == numbers[:, None, :]
    return (same & torch.ones_like(same[0]).tril())[:, None]


def batch_loss(model: LlamaForCausalLM, ids: Tensor, positions: Tensor, numbers: Tensor) -> Tensor:
    """Mean next-token loss in nats; a document attends to itself only and does not predict the next one's BOS."""
    mask = document_mask(numbers)
    logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
    labels = ids[:, 1:].masked_fill(numbers[:, 1:] != numbers[:, :-1], IGNORE)
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORE)


def learning_rate(step: int, args: argparse.Namespace) -> float:
    """Warm up, stay, then fall linearly over the last part (warmup-stable-decay)."""
    decay_from = int(args.steps * (1 - args.decay))
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    if step < decay_from:
        return args.lr
    return args.lr * max(0.02, (args.steps - step) / (args.steps - decay_from))


def optimizer_for(model: LlamaForCausalLM, args: argparse.Namespace) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.95),
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model folder in float16, small enough for a repository."""
    half = LlamaForCausalLM(model.config).half()
    half.load_state_dict(model.state_dict())
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _recipe(args: argparse.Namespace) -> dict[str, int | float | bool]:
    """Every setting that the weights depend on."""
    return {name: value for name, value in vars(args).items() if name not in ("out", "run", "log_every", "save_every")}


def _same_recipe(before: dict[str, int | float | bool], args: argparse.Namespace) -> None:
    """Refuse to go on with another recipe; only the number of steps may change, and the share of the decay."""
    changed = [
        f"--{name.replace('_', '-')} was {value} and is now {_recipe(args)[name]}"
        for name, value in before.items()
        if name not in ("steps", "decay") and value != _recipe(args)[name]
    ]
    if changed:
        raise SystemExit(f"{args.run} holds a run of another recipe: {'; '.join(changed)}. Use another --run.")


def train(args: argparse.Namespace) -> None:
    """Train, or go on training, until `args.steps`; then save and write the card."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.run.mkdir(parents=True, exist_ok=True)
    tokenizer_path = args.run / "tokenizer"
    if tokenizer_path.exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_path)
    else:
        tokenizer = train_tokenizer(args.seed, args.vocabulary)
        tokenizer.save_pretrained(tokenizer_path)
    corpus = Corpus(tokenizer, args)
    model = make_model(len(tokenizer), args).to(device)
    optimizer = optimizer_for(model, args)
    checkpoint, start, log = args.run / "checkpoint.pt", 0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        _same_recipe(state["recipe"], args)
        start, log = state["step"], state["log"]
        print(f"resuming at step {start}", flush=True)
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens, {device}",
        flush=True,
    )
    began, losses = time.monotonic(), []
    for step in range(start, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        ids, positions, numbers = (x.to(device) for x in corpus.batch(step, args.rows))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.bf16):
            loss = batch_loss(model, ids, positions, numbers)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        done = step + 1
        if not math.isfinite(losses[-1]):
            raise SystemExit(f"the loss is {losses[-1]} at step {done}: lower --lr")
        if done % args.log_every == 0 or done == args.steps:
            rate = (done - start) * args.rows * ROW / (time.monotonic() - began)
            left = (args.steps - done) * args.rows * ROW / rate
            mean = sum(losses) / len(losses)
            log.append({"step": done, "tokens": done * args.rows * ROW, "loss": mean})
            print(
                f"step {done}/{args.steps}  loss {mean:.3f}  {rate:,.0f} tokens/s  {left / 60:.0f} min left", flush=True
            )
            losses = []
        if done % args.save_every == 0 or done == args.steps:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": done,
                "log": log,
                "recipe": _recipe(args),
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            print(json.dumps(report(model, tokenizer, seed=args.seed, n=60)["summary"]), flush=True)
    save(model, tokenizer, args.out)
    shipped = LlamaForCausalLM.from_pretrained(args.out, dtype=torch.float32)
    write_card(args.out, report(shipped, tokenizer, seed=args.seed, n=300), log, _recipe(args))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("atlas/demo/model"), help="folder of the finished model")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="folder of the checkpoint; resumes from it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2600, help="optimizer steps")
    parser.add_argument("--rows", type=int, default=16, help=f"rows of {ROW} tokens a step")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--d-model", type=int, default=192)
    parser.add_argument("--d-mlp", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--repeat-share", type=float, default=0.35, help="share of rows made of random tokens")
    parser.add_argument("--first-steps", type=int, default=300, help="steps with four fifths of such rows")
    parser.add_argument("--reversals-from", type=int, default=1250, help="step of the first reversed pairs")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--decay", type=float, default=0.25, help="share of the steps over which the rate falls")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-every", type=int, default=250)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and train."""
    train(parser().parse_args(argv))


if __name__ == "__main__":
    main()
