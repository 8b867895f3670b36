"""What a build will do, decided before any of it is done. Pure: no model runs, no file is touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from head_atlas.catalogue import SCORES, WITHOUT_EFFECTS
from head_atlas.prompts.prompt import Prompt

Kind = Literal["reference", "scores", "zero", "mean"]

PROMPTS_PER_UNIT = 128
HEAD_TOKENS_PER_UNIT = 2**18
"""Heads x tokens of an ablation unit: minutes of work on two cores for a model of the size of GPT-2 small."""


@dataclass(frozen=True)
class Unit:
    """A piece of work that is done as a whole and kept as one shard.

    Attributes:
        kind: "reference", "scores", or the mode of ablation.
        family: of its prompts.
        start: index of its first prompt; for "reference", among the reference prompts.
        stop: index after its last prompt.
        work: expected effort, in tokens run through the whole model.
    """

    kind: Kind
    family: str
    start: int
    stop: int
    work: float

    @property
    def name(self) -> str:
        """Unique in the plan; part of the shard's file name."""
        return f"{self.kind}-{self.family}-{self.start:06d}-{self.stop:06d}"


@dataclass(frozen=True)
class Plan:
    """A whole build.

    Attributes:
        prompts: every measured prompt, family by family.
        reference_prompts: natural text whose mean activations stand for removed heads in mean mode.
        families: in the order of `prompts`.
        modes: of ablation.
        units: in the order they run, which respects what they need.
        config: everything the numbers depend on.
        left_out: by name, why a family or a measure is not in the build.
    """

    prompts: tuple[Prompt, ...]
    reference_prompts: tuple[Prompt, ...]
    families: tuple[str, ...]
    modes: tuple[str, ...]
    units: tuple[Unit, ...]
    config: Mapping[str, Any]
    left_out: Mapping[str, str]

    @property
    def config_sha256(self) -> str:
        """Hash of the configuration: shards of another one are never used."""
        return hashlib.sha256(canonical_json(self.config).encode()).hexdigest()


def make_plan(
    families: Mapping[str, Sequence[Prompt]],
    reference_prompts: Sequence[Prompt],
    *,
    modes: Sequence[str],
    n_layers: int,
    n_heads: int,
    config: Mapping[str, Any],
    left_out: Mapping[str, str],
) -> Plan:
    """Cut a build into units.

    Args:
        families: prompts by family.
        reference_prompts: for mean ablation; without any, mean mode is left out and named.
        modes: of ablation that are asked for.
        n_layers: of the model.
        n_heads: per layer.
        config: facts about model, machine and code that the numbers depend on.
        left_out: what the families could not build.
    """
    left_out = dict(left_out)
    if "mean" in modes and not reference_prompts:
        left_out["mean"] = "mean ablation needs the natural family for its means"
    modes = [mode for mode in modes if mode != "mean" or reference_prompts]
    for score in SCORES.values():
        if not any(family in families for family in score.families):
            left_out[score.name] = f"measured on {' and '.join(score.families)}, not in this atlas"
    units: list[Unit] = []
    if reference_prompts:
        work = sum(len(p) for p in reference_prompts)
        units.append(Unit("reference", "natural", 0, len(reference_prompts), work))
    prompts: list[Prompt] = []
    scored = {family for score in SCORES.values() for family in score.families}
    blocks: list[tuple[str, int, int, int]] = []
    for family, members in families.items():
        blocks += [
            (family, len(prompts) + start, len(prompts) + stop, tokens)
            for start, stop, tokens in _blocks(members, n_layers * n_heads)
        ]
        prompts += members
    for family, start, stop, tokens in blocks:
        if family in scored:
            units.append(Unit("scores", family, start, stop, 2.0 * tokens))
    for mode in modes:
        for family, start, stop, tokens in blocks:
            if family not in WITHOUT_EFFECTS:
                kind: Kind = "zero" if mode == "zero" else "mean"
                units.append(Unit(kind, family, start, stop, tokens * (1 + n_layers * n_heads / 2)))
    full_config = {
        **config,
        "modes": list(modes),
        "prompts_sha256": prompts_sha256(prompts),
        "reference_sha256": prompts_sha256(reference_prompts),
        "units": [unit.name for unit in units],
        "left_out": left_out,
    }
    return Plan(
        tuple(prompts),
        tuple(reference_prompts),
        tuple(families),
        tuple(modes),
        tuple(units),
        full_config,
        left_out,
    )


def prompts_sha256(prompts: Sequence[Prompt]) -> str:
    """Hash of everything that is measured about prompts."""
    rows = [
        [
            p.text,
            p.tokens,
            p.positions,
            p.targets,
            p.contrasts,
            p.family,
            p.template,
            p.split,
            p.corrupted,
            sorted((name, list(at)) for name, at in p.annotations.items()),
        ]
        for p in prompts
    ]
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _blocks(prompts: Sequence[Prompt], n_all_heads: int) -> list[tuple[int, int, int]]:
    """Cut a family's prompts: (start, stop, tokens) of each block."""
    blocks, start, tokens = [], 0, 0
    for index, prompt in enumerate(prompts):
        over = (tokens + len(prompt)) * n_all_heads > HEAD_TOKENS_PER_UNIT
        if index > start and (over or index - start == PROMPTS_PER_UNIT):
            blocks.append((start, index, tokens))
            start, tokens = index, 0
        tokens += len(prompt)
    if prompts:
        blocks.append((start, len(prompts), tokens))
    return blocks
