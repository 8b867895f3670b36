"""What the demo model can do, measured on what it was not trained on, and its model card."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from head_atlas.prompts.families.from_templates import CONTAINED_TEMPLATES
from head_atlas.prompts.templates import SAMPLERS, draw
from head_atlas.prompts.tokens import TokenPolicy

PROBES = {
    "The capital of France is": " Paris",
    "The cat sat on the mat. The cat sat on the": " mat",
    "Harry Potter went home. Everyone knew Harry": " Potter",
    "When Mary and John went to the store, John gave a book to": " Mary",
    "The dogs near the park": " are",
}


@torch.no_grad()
def report(model: Any, tokenizer: Any, *, seed: int, n: int) -> dict[str, Any]:
    """Top-1 accuracy per family on held-out prompts, the gain on repeated random tokens, and five probes."""
    model.eval()
    policy = TokenPolicy(tokenizer)
    accuracy = {family: _accuracy(model, policy, family, seed, n) for family in SAMPLERS}
    first, second = _repeat_loss(model, len(tokenizer), seed, max(8, n // 8))
    probes = {}
    for text, answer in PROBES.items():
        probabilities = _last_logits(model, policy.encode(text)).softmax(-1)
        best = int(probabilities.argmax())
        probes[text] = {
            "answer": answer,
            "top": policy.strings([best])[0],
            "probability": float(probabilities[policy.pieces_of(answer)[0]]),
        }
    model.train()
    summary = {family: round(score, 3) for family, score in accuracy.items()}
    summary["repeat_gain"] = round(first - second, 2)
    summary["probes"] = sum(probe["answer"] == probe["top"] for probe in probes.values())
    return {
        "accuracy": accuracy,
        "first_copy": first,
        "second_copy": second,
        "probes": probes,
        "summary": summary,
        "n": n,
    }


def _last_logits(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1]


def _accuracy(model: Any, policy: TokenPolicy, family: str, seed: int, n: int) -> float:
    rng = random.Random(f"judge-{family}-{seed}")
    right = 0
    for _ in range(n):
        case = draw(family, rng, "held_out")
        while (family, case.template) in CONTAINED_TEMPLATES:
            case = draw(family, rng, "held_out")
        right += int(_last_logits(model, policy.encode(case.text)).argmax()) == policy.pieces_of(case.answer)[0]
    return right / n


def _repeat_loss(model: Any, n_tokens: int, seed: int, n: int) -> tuple[float, float]:
    """Mean loss in nats on the first and on the second copy of 24 random tokens."""
    rng = random.Random(f"judge-repeat-{seed}")
    blocks = [rng.sample(range(1, n_tokens), 24) for _ in range(n)]
    ids = torch.tensor([[0, *block, *block] for block in blocks], device=model.device)
    losses = functional.cross_entropy(model(input_ids=ids).logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    # the second copy's first token cannot be known
    return float(losses[:, :24].mean()), float(losses[:, 25:].mean())


def write_card(folder: Path, result: dict[str, Any], log: list[dict[str, float]], recipe: dict[str, Any]) -> None:
    """Write README.md and loss.svg beside the model."""
    (folder / "loss.svg").write_text(_loss_svg(log))
    bar = {"ioi": 0.8} | dict.fromkeys(
        ("fact", "subject_verb", "pronoun", "successor", "opposite", "brackets", "natural_repeat"), 0.9
    )
    rows = "\n".join(
        f"| {family} | {score:.1%} | {f'{bar[family]:.0%}' if family in bar else ''} "
        f"| {'' if family not in bar else 'yes' if score >= bar[family] else '**no**'} |"
        for family, score in result["accuracy"].items()
    )
    probes = "\n".join(
        f"| {text} | `{probe['top']}` | {probe['probability']:.1%} for `{probe['answer']}` |"
        for text, probe in result["probes"].items()
    )
    settings = "\n".join(f"| {key} | {value} |" for key, value in recipe.items())
    text = (Path(__file__).parent / "demo_model_card.md").read_text()
    for slot, value in {
        "ROWS": rows,
        "N": str(result["n"]),
        "PROBES": probes,
        "RECIPE": settings,
        "FIRST": f"{result['first_copy']:.2f}",
        "SECOND": f"{result['second_copy']:.2f}",
        "GAIN": f"{result['first_copy'] - result['second_copy']:.2f}",
        "LAYERS": str(recipe["layers"]),
        "HEADS": str(recipe["heads"]),
        "WIDTH": str(recipe["d_model"]),
        "TOKENS": f"{log[-1]['tokens'] / 1e6:.1f}",
        "LOSS": f"{log[-1]['loss']:.3f}",
    }.items():
        text = text.replace(f"@{slot}@", value)
    (folder / "README.md").write_text(text)


def _loss_svg(log: list[dict[str, float]]) -> str:
    """The training loss over tokens, as a plain SVG."""
    width, height, left, bottom = 640, 260, 46, 30
    top = max(row["loss"] for row in log)
    tokens = log[-1]["tokens"]
    plot_width, plot_height = width - left - 10, height - bottom - 10
    points = " ".join(
        f"{left + row['tokens'] / tokens * plot_width:.1f},{10 + (1 - row['loss'] / top) * plot_height:.1f}"
        for row in log
    )
    ticks = "".join(
        f'<text x="{left - 6}" y="{14 + (1 - nats / top) * plot_height:.0f}" text-anchor="end">{nats}</text>'
        for nats in range(int(top) + 1)
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    return (
        f'{svg} font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>{ticks}'
        f'<polyline points="{points}" fill="none" stroke="#3b5bdb" stroke-width="1.5"/>'
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">tokens (0 to {tokens / 1e6:.1f} million); '
        "vertical: training loss in nats</text></svg>\n"
    )
