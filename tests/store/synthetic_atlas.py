"""An atlas of invented numbers with the real names and shapes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store import AtlasContents, MeanZ, ResamplePrompts

FAMILIES = (
    "rand_repeat",
    "rand_flat",
    "natural",
    "ioi",
    "successor",
    "subject_verb",
    "pronoun",
    "fact",
    "brackets",
    "natural_repeat",
)
WITHOUT_CONTRAST = ("rand_flat", "natural")
SCORE_FAMILIES = {
    "previous_token": ("rand_flat", "natural"),
    "current_token": ("rand_flat", "natural"),
    "sink": ("rand_flat", "natural"),
    "duplicate_token": ("rand_repeat",),
    "induction": ("rand_repeat",),
    "diffuse": ("natural",),
    "diffuse_sink_free": ("natural",),
}
WITHOUT_EXCESS = ("diffuse", "diffuse_sink_free")
METRICS = ("kl", "logprob", "logit_difference", "flip", "log2_rank")
CLEAN = ("logprob", "logit_difference", "log2_rank", "correct")
BINS = (*tuple(str(d) for d in range(32)), "32-63", "64+", "sink")


def synthetic_contents(
    n_layers: int = 4, n_heads: int = 6, n_prompts: int = 20, modes: tuple[str, ...] = ("zero", "mean")
) -> AtlasContents:
    rng = np.random.default_rng(0)
    words = ["<|bos|>", "The", " cat", " sat", " on", " the", " mat", ".", " <b>bold</b>", " ${x}", "\n", "é"]
    prompts = [_prompt(rng, words, family, i) for family in FAMILIES for i in range(n_prompts)]
    of_family = {f: np.array([p.family == f for p in prompts]) for f in FAMILIES}
    shape = (n_layers, n_heads, len(prompts))

    scores, baselines, summary = {}, {}, {}
    for name, families in SCORE_FAMILIES.items():
        measured = np.any([of_family[f] for f in families], axis=0)
        head = rng.beta(0.4, 2.0, size=shape[:2])
        values = np.clip(head[..., None] + rng.normal(0, 0.03, size=shape), 0, 1)
        scores[name] = np.where(measured, values, np.nan).astype(np.float32)
        baseline = np.where(measured, 0.06, np.nan) * np.ones((n_layers, 1))
        if name not in WITHOUT_EXCESS:
            baselines[name] = baseline.astype(np.float32)
        for family in families:
            prefix = name if family == families[0] else f"{name}_{family}"
            mean = scores[name][..., of_family[family]].mean(-1)
            excess = (mean - 0.06) / (1 - 0.06)
            for part, value in (("", mean), ("excess_", excess)):
                if part and name in WITHOUT_EXCESS:
                    continue
                summary[f"{prefix}_{part or 'mean_'}".rstrip("_")] = value
                summary[f"{prefix}_{part}ci_low"] = value - 0.01
                summary[f"{prefix}_{part}ci_high"] = value + 0.01
            summary[f"{prefix}_n"] = np.full(shape[:2], n_prompts, dtype=np.int32)
    named = {name: NamedArray(values, ("layer", "head")) for name, values in summary.items()}

    effects = {}
    has_contrast = ~np.any([of_family[f] for f in WITHOUT_CONTRAST], axis=0)
    for metric in METRICS:
        head = rng.exponential(0.3, size=(len(modes), *shape[:2], 1)) ** 2
        values = head * rng.normal(1, 0.3, size=(len(modes), *shape))
        values = np.abs(values) if metric in ("kl", "log2_rank") else -values
        if metric == "flip":
            values = (np.abs(values) > 0.5).astype(float)
        if metric == "logit_difference":
            values = np.where(has_contrast, values, np.nan)
        effects[metric] = values.astype(np.float32)
        mean = np.stack([effects[metric][..., of_family[f]].mean(-1) for f in FAMILIES], axis=-1)
        dims = ("mode", "layer", "head", "family")
        named[f"{metric}_mean"] = NamedArray(mean, dims)
        named[f"{metric}_ci_low"] = NamedArray(mean - 0.02, dims)
        named[f"{metric}_ci_high"] = NamedArray(mean + 0.02, dims)
        n = np.where(np.isnan(mean), 0, n_prompts).astype(np.int32)
        named[f"{metric}_n"] = NamedArray(n, dims)
        macro = np.nanmean(mean, axis=-1)
        named[f"{metric}_macro"] = NamedArray(macro, dims[:-1])
        named[f"{metric}_macro_ci_low"] = NamedArray(macro - 0.01, dims[:-1])
        named[f"{metric}_macro_ci_high"] = NamedArray(macro + 0.01, dims[:-1])
        named[f"{metric}_macro_n"] = NamedArray((n > 0).sum(-1).astype(np.int32), dims[:-1])

    clean = {
        "logprob": rng.normal(-1, 0.3, len(prompts)),
        "logit_difference": np.where(has_contrast, rng.normal(3, 1, len(prompts)), np.nan),
        "log2_rank": rng.exponential(0.5, len(prompts)),
        "correct": rng.random(len(prompts)).round(),
    }
    for name, values in clean.items():
        per_family = np.array([values[of_family[f]].mean() for f in FAMILIES])
        named[f"clean_{name}"] = NamedArray(per_family, ("family",))
        named[f"clean_{name}_ci_low"] = NamedArray(per_family - 0.1, ("family",))
        named[f"clean_{name}_ci_high"] = NamedArray(per_family + 0.1, ("family",))
        n = np.where(np.isnan(per_family), 0, n_prompts).astype(np.int32)
        named[f"clean_{name}_n"] = NamedArray(n, ("family",))

    offsets = rng.dirichlet(np.full(len(BINS), 0.2), size=shape[:2])
    arrays = {f"scores/{name}": NamedArray(values, ("layer", "head", "prompt")) for name, values in scores.items()}
    arrays |= {f"baselines/{name}": NamedArray(values, ("layer", "prompt")) for name, values in baselines.items()}
    arrays |= {
        f"effects/{name}": NamedArray(values, ("mode", "layer", "head", "prompt")) for name, values in effects.items()
    }
    arrays |= {f"clean/{name}": NamedArray(values, ("prompt",)) for name, values in clean.items()}
    arrays |= {f"summary/{name}": array for name, array in named.items()}
    arrays["offsets"] = NamedArray(offsets, ("layer", "head", "bin"), {"bin": BINS})
    return AtlasContents(
        n_layers=n_layers,
        n_heads=n_heads,
        families=FAMILIES,
        modes=modes,
        prompts=prompts,
        token_strings=dict(enumerate(words)),
        arrays=arrays | _further(rng, n_layers, n_heads, len(prompts)),
        mean_z=MeanZ(rng.normal(size=(2, n_layers, n_heads, 32)), "invented", 1234),
        resample_prompts=ResamplePrompts(rng.integers(0, len(words), (5, 20)), "invented", 7),
        provenance={
            "model_id": "synthetic",
            "model_fingerprint": "0" * 64,
            "bos_policy": "bos",
            "seed": 0,
            "packages": {"numpy": np.__version__},
        },
        left_out={"greater_than": "the numbers 02 to 99 are not single tokens in this tokenizer"},
        notes={"fact": "72 of 100 prompts can be built for this tokenizer"},
        checks=[{"name": "no-op", "value": 0.0, "tolerance": 0.0, "passed": True}],
        shards={"scores-0000": "a" * 64, "zero-0000": "b" * 64},
    )


def _further(rng: np.random.Generator, n_layers: int, n_heads: int, n_prompts: int) -> dict[str, NamedArray]:
    """One array of each kind that came with version 1.1."""
    heads = ("layer", "head")
    shape = (n_layers, n_heads)
    relations = {"relation": ["subject_verb", "determiner_noun"], "direction": ["to_head", "to_dependent"]}
    return {
        "weights/ov_copy": NamedArray(rng.random(shape), heads),
        "weights/k_composition": NamedArray(rng.normal(size=shape * 2), ("layer_from", "head_from", *heads)),
        "weights/promoted_id": NamedArray(rng.integers(0, 9, (*shape, 5)), (*heads, "rank")),
        "direct_logit/logit_difference": NamedArray(rng.normal(size=(*shape, n_prompts)), (*heads, "prompt")),
        "direct_logit/residual": NamedArray(rng.normal(size=n_prompts), ("prompt",)),
        "summary/diffuse_split_half": NamedArray(np.array(0.5), ()),
        "syntax/accuracy": NamedArray(rng.random((2, 2, *shape)), ("relation", "direction", *heads), relations),
        "nulls/induction": NamedArray(rng.random((*shape, 3)), (*heads, "quantile"), {"quantile": [0.5, 0.95, 0.99]}),
        "roles/held": NamedArray(rng.random((2, *shape)) < 0.2, ("role", *heads), {"role": ["induction", "sink"]}),
        "exemplars/text/prompt_index": NamedArray(rng.integers(0, n_prompts, 7), ("exemplar",)),
        "exemplars/families/prompt_index": NamedArray(rng.integers(0, n_prompts, 300), ("exemplar",)),
        "exemplars/families/row_count": NamedArray(rng.integers(0, 8, 5).astype(np.uint8), ("exemplar_row",)),
        "neurons/top_token": NamedArray(np.array([["a", "é"]] * n_layers), ("layer", "neuron")),
        "model/participation_ratio": NamedArray(rng.random(n_layers), ("layer",)),
    }


def _prompt(rng: np.random.Generator, words: list[str], family: str, index: int) -> Prompt:
    tokens = (0, *rng.integers(1, len(words), size=int(rng.integers(6, 20))).tolist())
    several = family in ("rand_repeat", *WITHOUT_CONTRAST)
    positions = tuple(range(4, len(tokens) - 1)) if several else (len(tokens) - 1,)
    targets = tuple(tokens[p + 1] for p in positions) if several else (2,)
    return Prompt(
        text="".join(words[t] for t in tokens[1:]),
        tokens=tokens,
        positions=positions,
        targets=targets,
        contrasts=() if family in WITHOUT_CONTRAST else (3,) * len(positions),
        family=family,
        template=-1 if several else index % 5,
        split="train" if index % 2 else "held_out",
        corrupted=tuple(reversed(tokens)) if index % 3 else (),
        annotations={} if several else {"S1": (2,), "END": (len(tokens) - 1,)},
    )


def flip_bits(path: Path, *places: str, bits: int = 0x10) -> None:
    """Damage arrays in the middle of their first chunk: the structure is whole, and only reading them shows it."""
    with h5py.File(path) as file:
        chunks = [file[place].id.get_chunk_info(0) for place in places]
    content = bytearray(path.read_bytes())
    for chunk in chunks:
        content[chunk.byte_offset + chunk.size // 2] ^= bits
    path.write_bytes(bytes(content))
